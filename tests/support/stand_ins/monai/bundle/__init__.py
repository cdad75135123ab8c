class ConfigParser:
    pass


def download(*_: object, **__: object) -> None:
    raise NotImplementedError


def get_bundle_versions(*_: object, **__: object) -> None:
    raise NotImplementedError
