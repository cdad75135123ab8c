class MetaTensor:
    pass


def partition_dataset(*_: object, **__: object) -> None:
    raise NotImplementedError
