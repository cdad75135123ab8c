"""What the driver and the label server must agree on; standard library only, because the image gets it as it is."""

__version__ = "0.1.0"
