"""DICOM of our own making, for a clone without the data beside it."""
