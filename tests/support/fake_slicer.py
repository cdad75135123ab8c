"""Stand-ins for 3D Slicer and its Qt that note what a script does with them."""

import builtins
from types import SimpleNamespace
from typing import Any


class Slicer:
    """3D Slicer, with or without the extension, and a user who says yes or no."""

    def __init__(self, extension: bool = True, yes: bool = True) -> None:
        self.stored: dict[str, Any] = {}
        self.done: list[str] = []
        self.installable = True
        self.answers: list[str] = []  # what the user types, dialog by dialog; then they give up
        self.offered: list[str] = []
        widget = SimpleNamespace(
            updateServerUrlGUIFromSettings=lambda: self.done.append("read settings"),
            onClickFetchInfo=lambda: self.done.append(f"connect {self.stored['MONAILabel/serverUrl']}"),
        )
        util = SimpleNamespace(
            selectModule=lambda name: self.done.append(f"open {name}"),
            getModuleWidget=lambda _: widget,
            confirmYesNoDisplay=lambda question: self.done.append("ask") or yes,
            errorDisplay=lambda message: self.done.append(message),
        )
        self.manager = SimpleNamespace(interactive=True, installExtensionFromServer=self._install)
        app = SimpleNamespace(extensionsManagerModel=lambda: self.manager)
        modules = SimpleNamespace(monailabel=object()) if extension else SimpleNamespace()
        settings = SimpleNamespace(value=self.stored.get, setValue=self.stored.__setitem__)
        self._modules = {
            "slicer": SimpleNamespace(util=util, app=app, modules=modules),
            "qt": SimpleNamespace(QSettings=lambda: settings, QInputDialog=lambda: Dialog(self)),
        }

    def _install(self, name: str, restart: bool) -> bool:
        self.done.append(f"install {name}, restart {restart}, dialogs {self.manager.interactive}")
        return self.installable

    def run(self, script: str) -> None:
        """Run a script; the modules that it imports of Slicer's are stand-ins."""
        names = vars(builtins) | {"__import__": self._import}
        exec(compile(script, "connect.py", "exec"), {"__name__": "__main__", "__builtins__": names})

    def _import(self, name: str, *how: Any) -> Any:
        return self._modules.get(name) or __import__(name, *how)


class Dialog:
    """One that asks for a line; its properties are attributes, as PythonQt has them."""

    windowTitle = labelText = textValue = ""

    def __init__(self, app: Slicer) -> None:
        self._app = app

    def exec_(self) -> bool:
        self._app.offered.append(self.textValue)
        if not self._app.answers:
            return False
        self.textValue = self._app.answers.pop(0)
        return True
