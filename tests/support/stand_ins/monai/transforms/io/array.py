class _Reader:
    pass


SUPPORTED_READERS = dict.fromkeys(
    ("pydicomreader", "itkreader", "nrrdreader", "numpyreader", "pilreader", "nibabelreader"), _Reader
)
