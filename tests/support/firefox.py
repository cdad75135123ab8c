"""Debian's Firefox, driven by its own Marionette: Playwright's driver asks it for more than a release of it has."""

import itertools
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.waiting import eventually

# Written into a profile of its own: a free port, and no question at the first start.
_SETTINGS = {
    "marionette.port": 0,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
}
_KEYS = {"Control": "\ue009"}  # WebDriver's numbers of keys that write nothing
# What scripts of some address have thrown since Firefox began, and nobody caught.
_ERRORS = """return Services.console.getMessageArray()
  .filter(each => each instanceof Ci.nsIScriptError && each.flags === Ci.nsIScriptError.errorFlag)
  .filter(each => each.sourceName.startsWith(arguments[0]))
  .map(String)"""


class Firefox:
    """A window of Firefox.

    Args:
        channel: connected to Marionette.

    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._stream = channel.makefile("rb")
        self._numbers = itertools.count(1)
        self._answer()  # it says first what it speaks
        self._do("WebDriver:NewSession", capabilities={"alwaysMatch": {"pageLoadStrategy": "none"}})

    def _answer(self) -> Any:
        """Read a message: its length, a colon, JSON."""
        length = b"".join(iter(lambda: self._stream.read(1), b":"))
        return json.loads(self._stream.read(int(length)))

    def _do(self, command: str, **parameters: Any) -> Any:
        message = json.dumps([0, next(self._numbers), command, parameters]).encode()
        self._channel.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._answer()
        assert error is None, error["message"]
        return result

    def goto(self, url: str) -> None:
        self._do("WebDriver:Navigate", url=url)

    def evaluate(self, function: str, argument: Any = None) -> Any:
        """What a function of JavaScript gives in the page."""
        script = f"return ({function})(...arguments)"
        return self._do("WebDriver:ExecuteScript", script=script, args=[argument], sandbox=None)["value"]

    def errors(self, address: str) -> list[str]:
        """What scripts of an address have thrown, and nobody caught."""
        self._do("Marionette:SetContext", value="chrome")
        found: list[str] = self._do("WebDriver:ExecuteScript", script=_ERRORS, args=[address])["value"]
        self._do("Marionette:SetContext", value="content")
        return found

    def press(self, keys: str) -> None:
        """Press keys at once, named as Playwright names them: `b`, `Control+s`."""
        pressed = [_KEYS.get(key, key) for key in keys.split("+")]
        steps = [("keyDown", key) for key in pressed] + [("keyUp", key) for key in reversed(pressed)]
        self._act("key", [{"type": kind, "value": value} for kind, value in steps])

    def stroke(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag the mouse with its left button, in four steps."""
        between = [tuple(a + (b - a) * part / 4 for a, b in zip(start, end, strict=True)) for part in range(1, 5)]
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 40} for x, y in (start, *between)]
        down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
        self._act("pointer", [moves[0], down, *moves[1:], up])

    def _act(self, kind: str, actions: list[dict[str, Any]]) -> None:
        self._do("WebDriver:PerformActions", actions=[{"type": kind, "id": kind, "actions": actions}])


@contextmanager
def firefox(profile: Path, width: int = 1280, height: int = 800) -> Iterator[Firefox]:
    """A window of a Firefox of its own, with an empty profile."""
    profile.mkdir(parents=True)
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in _SETTINGS.items()]
    (profile / "user.js").write_text("".join(lines))
    port = profile / "MarionetteActivePort"
    command = ["firefox-esr", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", str(profile)]
    command += ["--width", str(width), "--height", str(height)]
    with _screen(width, height) as display, (profile / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"DISPLAY": display})
        try:
            eventually(lambda: port.exists() and port.read_text(), 60, "Firefox listens")
            with socket.create_connection(("127.0.0.1", int(port.read_text())), timeout=60) as channel:
                yield Firefox(channel)
        finally:
            _end(process)


@contextmanager
def _screen(width: int, height: int) -> Iterator[str]:
    """A screen that nobody sees: without one Firefox has no WebGL. Its name."""
    told, tells = os.pipe()
    command = ["Xvfb", "-displayfd", str(tells), "-nolisten", "tcp", "-screen", "0", f"{width}x{height}x24"]
    process = subprocess.Popen(command, pass_fds=[tells], stderr=subprocess.DEVNULL)
    os.close(tells)
    try:
        with os.fdopen(told) as number:
            yield f":{number.readline().strip()}"
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)
