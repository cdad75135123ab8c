"""The DICOMweb server as the label server uses it: sessions, series, labels taken back."""
