"""The web layer: who may ask what, how much of it, and where requests are worked on."""
