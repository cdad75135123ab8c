"""What runs inside the label server's container: MONAI Label with our labels and upstream's faults repaired."""
