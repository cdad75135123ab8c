"""What the values of settings may be: each function returns a value as it is kept.

Each raises ValueError with the reason if it is none.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from labelpod.config import places
from labelpod_common import labels
from labelpod_common.model_names import MODELS

# The label server's login at the stack's Orthanc, and Prometheus's; images/orthanc/access.lua says what they may do.
LABEL_SERVER_USER, MONITOR_USER = "label-server", "monitor"
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._:/-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@sha256:[0-9a-f]{64})?")
_PLAIN = re.compile(r"[^\x00-\x1f\x7f'\"\\$`]*")


def label_list(text: str) -> str:
    """Labels, as the label server reads them."""
    labels.parse(text)
    return plain(text)


def model_list(text: str) -> str:
    """Names of models that there are."""
    names = [name.strip() for name in plain(text).split(",") if name.strip()]
    if not names:
        raise ValueError("no model is named")
    for name in names:
        if name not in MODELS:
            raise ValueError(f"there is no model {name!r}; there are: {', '.join(MODELS)}")
    return ",".join(names)


def image_name(name: str) -> str:
    """The name of an image, with a tag or digest or without."""
    if not _IMAGE.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of an image")
    return name


def image_name_or_none(name: str) -> str:
    """The same, or ""."""
    return name and image_name(name)


def plain(text: str) -> str:
    """A text that means the same to Compose, a shell and Python."""
    if not _PLAIN.fullmatch(text):
        raise ValueError("quotes, backslashes, $, ` and line breaks are not allowed")
    return text


def conf(text: str) -> str:
    """Pairs key=value."""
    for pair in plain(text).split():
        if not re.fullmatch(r"[a-z0-9_]+=\S*", pair):
            raise ValueError(f"{pair!r} is not a pair key=value")
    return text


def token(secret: SecretStr) -> SecretStr:
    """An access token."""
    # It is the first part of a URL's path.
    if secret and not re.fullmatch(r"[A-Za-z0-9_-]{20,}", secret.get_secret_value()):
        raise ValueError("at least 20 letters, digits, _ or - are needed, and nothing else is allowed")
    return secret


def _plain_secret(secret: SecretStr) -> SecretStr:
    plain(secret.get_secret_value())
    return secret


def orthanc_user(text: str) -> str:
    """A person's login at Orthanc."""
    if text in (LABEL_SERVER_USER, MONITOR_USER):
        raise ValueError(f"{text!r} is the label server's or Prometheus's own login at Orthanc")
    return names(text)


def names(text: str) -> str:
    """Names that need no quotes."""
    if not re.fullmatch(r"[A-Za-z0-9_.,-]*", text):
        raise ValueError("only names with letters, digits, _ . and -, separated by commas, are allowed")
    return text


def scanners(text: str) -> str:
    """AETs, all with an address or all without."""
    entries = listed(text)
    for entry in entries:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,16}(@[A-Za-z0-9.-]+)?", entry):
            raise ValueError(
                f"{entry!r} is neither AET nor AET@ADDRESS, with an AET of 16 letters, digits, _ . - at most"
            )
    # Orthanc looks at everybody's address or at nobody's.
    if len({"@" in entry for entry in entries}) > 1:
        raise ValueError("either each AET has an address or none")
    return ",".join(entries)


def uids(text: str) -> str:
    """UIDs."""
    for entry in listed(text):
        if not re.fullmatch(r"[0-9.]{1,64}", entry):
            raise ValueError(f"{entry!r} is not a UID")
    return ",".join(listed(text))


def listed(text: str) -> list[str]:
    """What stands between commas."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def studies(text: str) -> str:
    """A DICOMweb URL without a login, or a folder; "" for neither."""
    if text and not text.startswith(("http://", "https://", "/")):
        raise ValueError("it must be a DICOMweb URL (http://, https://) or a folder's full path")
    # The URL is baked into the image and shown; a login in it would be as well.
    if re.match(r"https?://[^/]*@", text):
        raise ValueError(
            "the login belongs in LABELPOD_DICOMWEB_USERNAME and LABELPOD_DICOMWEB_PASSWORD, not in the URL"
        )
    return _url(text) if text.startswith("http") else plain(text)


def _url(text: str) -> str:
    return places.url(plain(text))


def stack_name(text: str) -> str:
    """A name that RunPod's names may begin with."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", text):
        raise ValueError("small letters, digits and -, 40 at most, no - first")
    return text


def repository(text: str) -> str:
    """The name of an image without a digest; "" for none."""
    if text and "@" in text:
        raise ValueError("a name without a digest; `runpod publish` finds the digest")
    if text.endswith(":latest"):
        raise ValueError("latest says nothing about what is in it; leave the tag out")
    return text and image_name(text)


def _digits(value: object) -> object:
    # Compose reads the same text, and knows neither 8_000 nor 80.0.
    if isinstance(value, str) and not re.fullmatch(r"[0-9]+", value):
        raise ValueError(f"{value!r} is not a whole number")
    return value


Plain = Annotated[str, AfterValidator(plain)]
Url = Annotated[str, AfterValidator(_url)]
Secret = Annotated[SecretStr, AfterValidator(_plain_secret)]  # shown as ** wherever it is printed
Port = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=65535)]
Seconds = Annotated[int, BeforeValidator(_digits), Field(le=3600)]
Count = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=65536)]
Whole = Annotated[int, BeforeValidator(_digits), Field(ge=0, le=1048576)]
Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*[mg]b?$")]
