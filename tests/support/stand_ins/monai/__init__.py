"""Stands in for MONAI."""
