"""The labelpod driver: renders, builds, starts and watches the label server stack."""
