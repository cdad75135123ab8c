"""What makes a DICOM series an image that can be labelled; takes numpy and pydicom, which both programs have."""
