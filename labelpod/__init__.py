"""The labelpod driver: renders, builds, starts and watches the label server stack."""

__version__ = "0.1.0"
