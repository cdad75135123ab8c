class GirderClient:
    pass
