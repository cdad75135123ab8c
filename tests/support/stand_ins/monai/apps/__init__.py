def download_url(*_: object, **__: object) -> None:
    raise NotImplementedError


def download_and_extract(*_: object, **__: object) -> None:
    raise NotImplementedError
