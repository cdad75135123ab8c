"""DICOM files: what is in them, whether a label server would read them right, and synthetic ones."""
