class LoadImage:
    pass
