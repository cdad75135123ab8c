"""What any log of the label server may say: no names of patients, no values that a client sent, one line a record.

Upstream logs whole requests, DICOM attributes and names of files as they come (monailabel 0.8.5,
endpoints/infer.py:169, endpoints/session.py:84, tasks/infer/basic_infer.py:280), and warnings and exceptions of DICOM
libraries quote the value that they are about. Which handler writes a record does not matter here: it is made plain
when it is made.
"""

import json
import logging
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from label_server import request_id

# What Python shows of data: dictionaries, lists, sets, texts. The first bracket counts to the last one that closes it;
# what is not closed, to the end: nothing is looked at twice, however long it is.
_DATA = re.compile(
    r"\{.*\}|\[.*\]|(?<!\w)'(?:[^'\\]|\\.)*(?:'|\\?$)|(?<!\w)\"(?:[^\"\\]|\\.)*(?:\"|\\?$)|[\[{].*",
    re.DOTALL,
)
# Their ordinary lines are about what was asked for; the gateway has written that already, without values.
_TALKATIVE = ("monailabel.endpoints", "monailabel.datastore")
_READ, _WRITTEN = 100_000, 4000  # characters of a message


def install() -> None:
    """Make every record, warning and traceback of this process plain, whoever writes it."""
    logging.setLogRecordFactory(PlainRecord)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.showwarning = _show_warning
    sys.excepthook = _show_exception


class PlainRecord(logging.LogRecord):
    """A record whose message is one line without data, and whose exception tells its place and kind."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request_id.current.get() or "-"
        if self.exc_info and self.exc_info[1]:
            # A formatter leaves a text that is there as it is.
            self.exc_text = "\n".join(_exception(self.exc_info[1]))

    def getMessage(self) -> str:
        """The message, plain."""
        return plain(super().getMessage())


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's time in UTC, level, logger, message, request and, where there is one, exception."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request": getattr(record, "request", "-"),
        }
        return json.dumps(told | ({"exception": record.exc_text} if record.exc_text else {}))


def formatted(config: dict[str, Any], form: str) -> dict[str, Any]:
    """A configuration of `logging` whose lines are `text`, with the request at their end, or `json`."""
    upstreams: dict[str, dict[str, Any]] = config["formatters"]
    if form == "json":
        return config | {"formatters": {name: {"()": JsonLines} for name in upstreams}}
    # The others pass lines of a training on, which say all that there is to say.
    texts = {name: each["format"] for name, each in upstreams.items()}
    ended = {name: f"{text} [%(request)s]" if "levelname" in text else text for name, text in texts.items()}
    return config | {"formatters": {name: {"format": text} for name, text in ended.items()}}


def plain(text: str) -> str:
    """One line in which data stand by their size, and what is not printable stands escaped."""
    told = _DATA.sub(lambda found: f"<{len(found[0])} characters>", text[:_READ])
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in told[:_WRITTEN])


def _exception(error: BaseException) -> Iterator[str]:
    """Lines about an exception and what it came from: code of ours and of libraries, and one line of what it says."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _exception(before)
        yield "which led to:"
    for piece in traceback.format_tb(error.__traceback__):
        yield piece.rstrip("\n")
    yield f"{type(error).__module__}.{type(error).__qualname__}: {plain(str(error))}"


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Only where it is from: what it says quotes what it is about."""
    print(f"{category.__name__} at {filename}:{lineno}", file=file or sys.stderr)


def _show_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        print("\n".join(_exception(error)), file=sys.stderr)
