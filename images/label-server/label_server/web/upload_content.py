"""What an uploaded image or label may be: a format of its own, whole in one file, that runs no code when it is read.

MONAI chooses a reader by a file's suffix, and its NumpyReader unpickles (monai 1.5, data/image_reader.py:1273). ITK
chooses one by suffix or content, and what an NRRD or MetaImage header says may be in another file.
"""

from starlette.datastructures import UploadFile

from label_server.errors import Refused
from label_server.parsing import archives, headers, volumes

_IMAGES = (*volumes.SUFFIXES, ".dcm")
_OTHERS = (*archives.SUFFIXES, ".bin")  # slices of a session, and the voxels that OHIF sends


def check(file: UploadFile) -> None:
    """Refuse an upload of another format, and one whose header names another file.

    Args:
        file: with the last part of its name; it is read from the start afterwards.

    Raises:
        Refused: with the reason.

    """
    name = (file.filename or "").lower()
    # A slice is often named after its UID.
    if "." in name and not name.rpartition(".")[2].isdecimal() and not suffix(name):
        raise Refused(f"only {', '.join(_IMAGES)} files and archives of them can be uploaded")
    headers.check(name, file.file)


def suffix(name: str) -> str:
    """What the name says of the format, "" if nothing: a slice then."""
    return next((each for each in (*_IMAGES, *_OTHERS) if name.lower().endswith(each)), "")
