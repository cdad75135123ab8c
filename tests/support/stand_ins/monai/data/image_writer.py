class NibabelWriter:
    pass
