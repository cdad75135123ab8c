"""Which models this server has, and which file serves each; looks only at names, and loads nothing.

The radiology app keeps two files for each model, and the second wins if it is there (monailabel 0.8.5,
tasks/infer/basic_infer.py:143): pretrained_NAME.pt, and NAME.pt, which a training publishes.
"""

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from label_server.errors import Refused
from label_server.models import pretrained


@dataclass(frozen=True)
class Model:
    """One model of this server.

    Args:
        name: as in MODELS.
        folder: in which all models' files are.
        stem: of its files' names.

    """

    name: str
    folder: Path
    stem: str

    @property
    def published(self) -> Path:
        """Where weights go that are to serve: those of a training, and those from outside."""
        return self.folder / f"{self.stem}.pt"

    @property
    def runs(self) -> Path:
        """The folder of its trainings."""
        return self.folder / self.name

    def serving(self) -> Path | None:
        """The file that serves; None if it is untrained."""
        files = (self.published, self.folder / f"pretrained_{self.stem}.pt")
        return next((file for file in files if file.exists()), None)

    def serves(self, checksum: str) -> bool:
        """Whether the weights that serve have this SHA-256."""
        path = self.serving()
        return path is not None and digest(path) == checksum


def conf() -> dict[str, str]:
    """What start_server says to the app of its own models; nothing is downloaded, and nothing removed."""
    pairs = dict(pair.partition("=")[::2] for pair in os.environ.get("CONF", "").split())
    return {"models": os.environ.get("MODELS", "")} | pairs | {"use_pretrained_model": "false"}


def model_folder() -> Path:
    """Where the models' files are."""
    return Path(os.environ["WORKSPACE"], os.environ["APP"], "model")


def foreign_app() -> str:
    """The app, if it is one whose models are bundles or are kept in ways of their own; else empty."""
    app = os.environ["APP"]
    return app if app != "radiology" else ""


def served() -> dict[str, Model]:
    """The models whose weights are files of their own, by name; none where APP is another than radiology."""
    if foreign_app():
        return {}
    options, folder = conf(), model_folder()
    names = [name.strip() for name in options["models"].split(",")]
    return {
        name: Model(name, folder, _stem(name, options)) for name in names if name in pretrained.FILES and name != "sam2"
    }


def own() -> dict[str, Model]:
    """The same, if there must be some.

    Raises:
        Refused: there are none.

    """
    if found := served():
        return found
    raise Refused(f"APP is {os.environ['APP']}: it has no weights of its own models here")


def chosen(names: list[str]) -> list[Model]:
    """The models of these names; all that have weights if none is named.

    Raises:
        Refused: there is no such model, or it has no weights.

    """
    known = own()
    if not names:
        if not (found := [model for model in known.values() if model.serving()]):
            raise Refused("no model has weights: all are untrained")
        return found
    for name in names:
        if name not in known:
            raise Refused(f"there is no model {name!a} with weights of its own; there are {', '.join(known)}")
        if not known[name].serving():
            raise Refused(f"{name} has no weights: it is untrained")
    return [known[name] for name in dict.fromkeys(names)]


def left_out() -> list[str]:
    """What is served besides and is no file of weights, in words."""
    bundles = [name.strip() for name in os.environ.get("BUNDLES", "").split(",") if name.strip()]
    words = [f"{name}: a bundle, which holds code" for name in bundles]
    if "sam2" in os.environ.get("MODELS", "").replace(" ", "").split(","):
        words.append("sam2: nobody trains it here, every server fetches it")
    return words


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put(incoming: Path, target: Path) -> Path | None:
    """Let weights serve, from the next inference on: upstream looks at the file's time.

    Args:
        incoming: the new weights, on the same file system.
        target: their place.

    Returns:
        As what those so far are kept; None if there were none.

    """
    kept = None
    if target.exists():
        kept = target.with_name(f"{target.name}.{datetime.now():%Y%m%d_%H%M%S_%f}.replaced")
        os.link(target, kept)
    incoming.replace(target)
    return kept


def _stem(name: str, options: dict[str, str]) -> str:
    if name == "deepedit":
        return f"deepedit_{options.get('network', 'dynunet')}"
    return name
