"""What a rented pod of RunPod's needs besides: its state, its end, and a stand-in until the studies are there."""
