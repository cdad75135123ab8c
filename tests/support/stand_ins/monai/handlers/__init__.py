class CheckpointLoader:
    pass
