def get_all_bundles_list(*_: object, **__: object) -> None:
    raise NotImplementedError
