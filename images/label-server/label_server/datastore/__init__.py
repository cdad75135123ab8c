"""Images and labels: the PACS's series as files on disk, and label maps as DICOM SEG."""
