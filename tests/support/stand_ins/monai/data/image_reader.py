class NumpyReader:
    pass
