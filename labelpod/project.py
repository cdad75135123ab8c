"""The folder that a stack is run from, and what lies where in it."""

from dataclasses import dataclass
from pathlib import Path

from labelpod.errors import DeployError


@dataclass(frozen=True)
class Project:
    """One checkout: its settings, secrets, generated files and records.

    Args:
        root: its folder.

    """

    root: Path

    @classmethod
    def of_this_checkout(cls) -> "Project":
        """The folder that this very program is part of.

        Raises:
            DeployError: it was installed without its folder.

        """
        root = Path(__file__).resolve().parents[1]
        if not (root / "compose.yaml").exists():
            raise DeployError(
                f"{root} is not a checkout of labelpod", "install it from one, with: pip install -e FOLDER"
            )
        return cls(root)

    @property
    def env_file(self) -> Path:
        """The settings, `.env`."""
        return self.root / ".env"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the stack."""
        return self.root / ".lock"

    @property
    def secrets(self) -> Path:
        """What the containers read their logins, users and certificate from."""
        return self.root / "secrets"

    @property
    def templates(self) -> Path:
        """What the generated files are rendered from."""
        return self.root / "templates"

    @property
    def build(self) -> Path:
        """Generated files, and records of what was built."""
        return self.root / "build"

    @property
    def images(self) -> Path:
        """The sources of the images."""
        return self.root / "images"

    @property
    def images_record(self) -> Path:
        """What each base image came from."""
        return self.build / "images.json"

    @property
    def digests_record(self) -> Path:
        """Which image each name in a registry stood for when it was first pulled."""
        return self.build / "digests.json"

    @property
    def started_record(self) -> Path:
        """With which files the services started."""
        return self.build / "started.json"

    @property
    def build_log(self) -> Path:
        """What the last build said."""
        return self.build / "build.log"

    @property
    def advisories_report(self) -> Path:
        """The known vulnerabilities of the locked packages."""
        return self.build / "advisories.txt"

    @property
    def locks(self) -> tuple[Path, Path]:
        """The locked packages of the label server and of the driver."""
        return self.images / "label-server" / "requirements.lock", self.root / "requirements.lock"

    @property
    def cluster_record(self) -> Path:
        """In which cluster this folder runs; beside `build`, which may be deleted at any time."""
        return self.root / ".kubernetes.json"

    @property
    def pods_record(self) -> Path:
        """The pods that were rented from here."""
        return self.root / ".runpod.json"

    def shown(self, path: Path) -> str:
        """A path as the user knows it: within the folder, without the folder."""
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)
