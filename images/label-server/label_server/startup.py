"""Everything that must be right before the server starts; each problem is one line and exit code 1.

Run by start_server. Light on imports: a wrong label name must not take ten seconds to be refused.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from label_server import paths, server_role, users
from label_server.dicomweb import login, probe
from label_server.models import pretrained
from label_server.paths import SAMPLE_APPS
from label_server.pod import state
from label_server.settings import FOREIGN_LABELS
from labelpod_common import labels

OWN_APP = Path(__file__).with_name("main.py")
_ABANDONED_SECONDS = 3600  # of a download in which something comes every twenty seconds, or it ends
_SAM2_CONFIGURATION = "sam2_hiera_l.yaml"


class NotReady(Exception):
    """Why the server does not start, in one line."""


def check_names(app: str, models: list[str]) -> None:
    """Refuse unknown apps, labels and models before anything is loaded.

    Raises:
        NotReady: with what there is instead.

    """
    if not (SAMPLE_APPS / app / "main.py").exists():
        raise NotReady(f"APP: there is no app {app!r}")
    try:
        labels.parse(os.environ["LABELS"])
    except ValueError as error:
        raise NotReady(f"LABELS: {error}") from None
    if FOREIGN_LABELS not in ("listed", "any"):
        raise NotReady(f"FOREIGN_LABELS: {FOREIGN_LABELS!r} is neither listed nor any")
    known = [path.stem for path in sorted((SAMPLE_APPS / app / "lib" / "configs").glob("[!_]*.py"))]
    if app != "radiology":
        return
    for name in models:
        if name not in (*known, "sam2"):
            raise NotReady(f"MODELS: there is no model {name!r}; there are: {', '.join(known)}, sam2")
    if not set(models) - {"sam2"}:
        raise NotReady("MODELS: sam2 needs another model beside it")


def check_door() -> None:
    """Refuse to be reached by others while nobody needs a token.

    Raises:
        NotReady: with what to set.

    """
    try:
        known = users.from_environment().all()
    except OSError as error:
        raise NotReady(f"LABEL_SERVER_TOKEN_FILE cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise NotReady(str(error)) from None
    listen = os.environ.get("LISTEN", "")
    if not known and listen not in users.LOOPBACK:
        raise NotReady(
            f"anybody could reach the server at {listen or 'every address'} and nobody would need a token: "
            "set LABEL_SERVER_TOKEN, or LISTEN=127.0.0.1"
        )


def lay_out(workspace: Path, app: str) -> Path:
    """Make the app folder on the volume: our main.py, and the sample app's files if it has more.

    Returns:
        The app folder, which holds the models and logs of earlier starts.

    """
    folder = workspace / app
    main = folder / "main.py"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _place_models(folder / "model")
        main.unlink(missing_ok=True)
        main.symlink_to(OWN_APP)
    except OSError as error:
        raise NotReady(f"the workspace cannot be written: {error}") from None
    # What a killed server left of downloads and uploads.
    shutil.rmtree(workspace / ".reading", ignore_errors=True)
    for incoming in workspace.glob("cache/*/.incoming"):
        _clear(incoming)
    return folder


def check_records() -> None:
    """Make the folders for what outlives this server: audit log, kept labels and browsers' sessions.

    Raises:
        NotReady: one cannot be written.

    """
    for folder in (paths.shared(), paths.lasting()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise NotReady(f"the volume for records cannot be written: {error}") from None


def _place_models(place: Path) -> None:
    """Have the models where MODEL_DIR says, and a link to them in the app folder; without it they are there."""
    shared = server_role.shared_models()
    if place.is_symlink():
        place.unlink()
    if shared is None:
        place.mkdir(exist_ok=True)
        return
    if server_role.writes_models():
        shared.mkdir(parents=True, exist_ok=True)
    if not shared.is_dir():
        raise NotReady(f"MODEL_DIR: the folder {shared} is not there; the label server that trains makes it")
    if place.is_dir():
        if any(place.iterdir()):
            raise NotReady(f"MODEL_DIR: there are models in {place}, which nobody would see: move them to {shared}")
        place.rmdir()
    place.symlink_to(shared.resolve())


def _clear(incoming: Path) -> None:
    """Remove downloads that nobody goes on with: all of a server by itself; of those beside others, the old ones."""
    if server_role.role() == "all":
        shutil.rmtree(incoming, ignore_errors=True)
        return
    for download in incoming.iterdir():
        # Not the locks, which others may hold.
        if download.is_dir() and _touched(download) < time.time() - _ABANDONED_SECONDS:
            shutil.rmtree(download, ignore_errors=True)


def _touched(folder: Path) -> float:
    """When something came last, in seconds since 1970: into the folder, or into one in it."""
    try:
        return max(each.stat().st_mtime for each in (folder, *folder.iterdir()))
    except FileNotFoundError:  # it is renamed just now
        return time.time()


def check_role() -> None:
    """Refuse a role that there is not, and one that would have no models.

    Raises:
        NotReady: with what to set.

    """
    role = server_role.role()
    if role not in server_role.ROLES:
        raise NotReady(f"ROLE: {role!r} is none of {', '.join(server_role.ROLES)}")
    if role == "annotate" and server_role.shared_models() is None:
        raise NotReady(
            "ROLE=annotate needs MODEL_DIR: the folder into which the label server that trains writes models"
        )


def wait_for_dicomweb(url: str, seconds: float) -> None:
    """Wait until the DICOMweb server accepts the login, not merely until its port opens.

    Raises:
        NotReady: what it answered last, after `seconds` by the clock.

    """
    user, password = login.read()
    deadline = time.monotonic() + seconds
    while problem := probe.problem(url, user, password, max(1.0, min(10.0, deadline - time.monotonic()))):
        if time.monotonic() > deadline:
            raise NotReady(f"the DICOMweb server {url} is not ready after {seconds:g} s: {problem}")
        time.sleep(max(0.0, min(0.3, deadline - time.monotonic())))


def fetch_weights(folder: Path, models: list[str], seconds: float) -> None:
    """Put the image's own weights in place and fetch the missing ones; what cannot be had is said."""
    baked = Path(os.environ["WEIGHTS"])
    for file in baked.glob("*.*") if baked.is_dir() else ():
        if not (folder / file.name).exists():
            # Never half a file under the name that the server loads.
            part = folder / f"{file.name}.part"
            shutil.copy2(file, part)
            part.replace(folder / file.name)
    if seconds > 0:
        for line in pretrained.fetch(models, folder, seconds):
            print(f"start_server: the model starts untrained, {line}", flush=True)


def place_sam2_configuration(folder: Path) -> None:
    """Put the installed package's configuration where upstream would download one.

    Hydra calls whatever it names (monailabel 0.8.5, sam2/infer.py:137), so what an earlier version fetched goes.
    """
    package = importlib.util.find_spec("sam2")
    if package is None or package.origin is None:
        raise NotReady("MODELS: the package sam2 is not installed")
    shutil.copyfile(Path(package.origin).with_name(_SAM2_CONFIGURATION), folder / _SAM2_CONFIGURATION)


def fetch_bundles(folder: Path, bundles: list[str], seconds: float) -> None:
    """Download the MONAI bundles that are not there; upstream does so without a time limit, or ends."""
    for name in bundles:
        if (folder / name).is_dir() or seconds <= 0:
            continue
        plain, _, version = name.partition("_v")
        command = [sys.executable, "-m", "monai.bundle", "download", "--name", plain]
        command += ["--version", version] if version else []
        problem = ""
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            try:
                subprocess.run(
                    [*command, "--bundle_dir", draft], timeout=seconds, check=True, capture_output=True, text=True
                )
                Path(draft, plain).rename(folder / name)
            except subprocess.TimeoutExpired:
                problem = f"not downloaded within {seconds:g} s"
            except (subprocess.CalledProcessError, OSError) as error:
                problem = ((getattr(error, "stderr", "") or "").strip() or str(error)).splitlines()[-1]
        if problem:
            print(f"start_server: bundle {name} is left out: {problem}", flush=True)


def main() -> None:
    """Check, lay out, wait, fetch, in the order of what can be refused soonest."""
    app, studies = os.environ["APP"], os.environ["STUDIES"]
    models, bundles = _names("MODELS"), _names("BUNDLES")
    weights_wait, studies_wait = _seconds("WEIGHTS_WAIT"), _seconds("STUDIES_WAIT")
    check_names(app, models)
    check_door()
    check_role()
    folder = lay_out(Path(os.environ["WORKSPACE"]), app)
    check_records()
    if server_role.writes_models():
        _provide_models(app, folder / "model", models, bundles, weights_wait)
    if state.rented():
        return  # the studies come later, see pod/standby.py
    if studies.startswith(("http://", "https://")):
        wait_for_dicomweb(studies.rstrip("/"), studies_wait)
    elif not Path(studies).is_dir():
        raise NotReady(f"STUDIES: the folder {studies} is not there")


def _provide_models(app: str, folder: Path, models: list[str], bundles: list[str], seconds: float) -> None:
    if app == "radiology":
        if "sam2" in models:
            place_sam2_configuration(folder)
        fetch_weights(folder, models, seconds)
    if app != "pathology":
        fetch_bundles(folder, bundles, seconds)


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ[variable].split(",") if name.strip()]


def _seconds(variable: str) -> float:
    text = os.environ[variable]
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]*)?", text):
        raise NotReady(f"{variable}: {text!r} is not a number of seconds")
    return float(text)


if __name__ == "__main__":
    try:
        main()
    except (NotReady, OSError) as error:
        sys.exit(f"start_server: {error}")
