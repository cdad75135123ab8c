"""deploy.py before the driver takes over; Python's venv module, pip and the driver are stand-ins."""

import ast
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The venv's Python: pip as told by the file `pip`, and a driver that says how it was called.
PYTHON = """\
#!/bin/sh
echo "$*" >> "{root}/calls"
case "$*" in
  *"-m pip "*) . "{root}/pip";;
  *"-m labelpod "*) echo "driver in $PWD: $*"; exit 7;;
esac
"""
VENV = """\
import os, pathlib, sys
folder = pathlib.Path(sys.argv[1], "bin")
folder.mkdir(parents=True)
(folder / "python").write_text({python!r})
(folder / "python").chmod(0o755)
if pathlib.Path({root!r}, "interrupt").exists():
    os.kill(os.getppid(), 9)
    sys.exit(1)
(folder / "pip").touch()
version = pathlib.Path({root!r}, "version")
made_by = version.read_text() if version.exists() else "%d.%d.1" % sys.version_info[:2]
folder.with_name("pyvenv.cfg").write_text("version = " + made_by)
"""


class Checkout:
    """A copy of what deploy.py needs, with a venv that is made in no time."""

    def __init__(self, root: Path, programs) -> None:
        self.root, self.programs, self.python = root, programs, Path(sys.executable)
        (root / "tests").mkdir(parents=True)
        for name in ("deploy.py", "labelpod/__init__.py", "labelpod/launcher.py"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text((ROOT / name).read_text())
        for name in ("requirements.lock", "tests/requirements.lock", "tests/no-deps.lock"):
            (root / name).write_text(f"{name}==1\n")
        self.modules = root / "modules"
        self.modules.mkdir()
        self.pip()
        (self.modules / "venv.py").write_text(VENV.format(python=PYTHON.format(root=root), root=str(root)))

    def pip(self, script: str = ":") -> None:
        (self.root / "pip").write_text(script)

    def at_start(self, code: str) -> None:
        """Run this in deploy.py's Python before it."""
        (self.modules / "sitecustomize.py").write_text(code)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {"PATH": str(self.programs.folder), "PYTHONPATH": str(self.modules)}
        return subprocess.run(
            [str(self.python), str(self.root / "deploy.py"), *arguments],
            cwd="/",
            env={**os.environ, **own, **environment},
            input="",
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )

    def installs(self) -> list[str]:
        """The locks that pip was told to install since the last question."""
        calls = (self.root / "calls").read_text().splitlines() if (self.root / "calls").exists() else []
        (self.root / "calls").unlink(missing_ok=True)
        return [call.split()[-1].removeprefix(f"{self.root}/") for call in calls if "-m pip install" in call]


@pytest.fixture
def checkout(tmp_path, programs) -> Checkout:
    return Checkout(tmp_path / "checkout", programs)


def refused(result: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """Message and remedy, each one line, the last two of what was said."""
    assert (result.returncode, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr
    *_, message, remedy = result.stderr.splitlines()
    assert message.startswith("Error: ")
    return message.removeprefix("Error: "), remedy.strip()


def test_a_first_run_makes_the_venv_and_hands_over(checkout):
    result = checkout.run("status", "--json", "two words")
    assert result.stdout == f"driver in {checkout.root}: -m labelpod status --json two words\n"
    assert result.returncode == 7
    assert "Making .venv" in result.stderr and "requirements.lock" in result.stderr
    assert checkout.installs() == ["requirements.lock"]


def test_packages_are_installed_by_hash_only(checkout):
    checkout.run("status")
    (call,) = [line for line in (checkout.root / "calls").read_text().splitlines() if "pip install" in line]
    assert "--require-hashes" in call


def test_with_the_lock_unchanged_pip_is_not_called(checkout):
    checkout.run("status")
    checkout.installs()
    result = checkout.run("status")
    assert (result.returncode, result.stderr, checkout.installs()) == (7, "", [])


def test_a_changed_lock_is_installed(checkout):
    checkout.run("status")
    checkout.installs()
    (checkout.root / "requirements.lock").write_text("requirements.lock==2\n")
    checkout.run("status")
    assert checkout.installs() == ["requirements.lock"]
    assert checkout.run("status").stderr == ""


def test_the_tests_packages_are_installed_for_the_tests_only(checkout):
    checkout.run("status")
    assert checkout.installs() == ["requirements.lock"]
    checkout.run("test")
    assert checkout.installs() == ["tests/requirements.lock", "tests/no-deps.lock"]
    checkout.run("test", "unit")
    assert checkout.installs() == []


@pytest.mark.parametrize("words", ["test --help", "test -h", "users add test", "studies push test"])
def test_other_words_install_no_test_packages(checkout, words):
    checkout.run(*words.split())
    assert checkout.installs() == ["requirements.lock"]


def test_a_failing_pip_is_reported_and_called_again(checkout):
    checkout.pip("echo 'Looking in indexes'; echo 'WARNING: retrying' >&2; echo 'ERROR: No network' >&2; exit 1")
    message, remedy = refused(checkout.run("status"))
    assert message.endswith("failed: ERROR: No network") and "pip config list" in remedy
    checkout.installs()
    checkout.pip()
    assert checkout.run("status").returncode == 7
    assert checkout.installs() == ["requirements.lock"]


def test_a_pip_that_fails_without_a_word_is_told_by_its_exit_code(checkout):
    checkout.pip("exit 3")
    assert refused(checkout.run("status"))[0].endswith("failed: exit code 3")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_install_is_done_again(checkout, number):
    checkout.pip(f"kill -{int(number)} $PPID; sleep 0.1 2>/dev/null; exit 1")
    result = checkout.run("status")
    assert result.returncode != 7 and "Traceback" not in result.stderr
    if number == signal.SIGINT:
        assert "Interrupted" in result.stderr
    checkout.installs()
    checkout.pip()
    assert checkout.run("status").returncode == 7
    assert checkout.installs() == ["requirements.lock"]


def test_an_interrupted_update_is_done_again(checkout):
    checkout.run("status")
    old = (checkout.root / "requirements.lock").read_text()
    (checkout.root / "requirements.lock").write_text("requirements.lock==2\n")
    checkout.pip("exit 1")
    checkout.run("status")
    (checkout.root / "requirements.lock").write_text(old)
    checkout.installs()
    checkout.pip()
    checkout.run("status")
    assert checkout.installs() == ["requirements.lock"]


def test_a_venv_whose_making_was_interrupted_is_made_again(checkout):
    (checkout.root / "interrupt").touch()
    assert checkout.run("status").returncode == -signal.SIGKILL
    assert (checkout.root / ".venv" / "bin" / "python").exists()
    (checkout.root / "interrupt").unlink()
    result = checkout.run("status")
    assert "Making .venv" in result.stderr and result.returncode == 7


def test_a_venv_whose_python_is_gone_is_made_again(checkout):
    checkout.run("status")
    checkout.installs()
    python = checkout.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/absent/python3.9")
    assert checkout.run("status").returncode == 7
    assert checkout.installs() == ["requirements.lock"]


OLD_PYTHON = """\
import builtins, hashlib, importlib.util, pathlib, shutil, subprocess, sys
class list(list): __class_getitem__ = None  # before 3.9, list[str] is an error
builtins.list = list
sys.version_info, sys.version = (3, 8, 18), "3.8.18 (main)"
"""


def test_an_old_python_is_refused_with_the_versions_that_will_do(checkout):
    checkout.at_start(OLD_PYTHON)
    assert refused(checkout.run("status")) == ("Python 3.8.18 is too old", "run this with Python 3.11, 3.12 or 3.13")
    assert not (checkout.root / ".venv").exists()


def test_an_old_python_can_read_the_launcher_as_far_as_refusing():
    ast.parse((ROOT / "deploy.py").read_text(), feature_version=(3, 7))


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.10"])
def test_an_old_python_that_is_here_is_refused_in_a_sentence(version):
    known = [Path(f"/usr/bin/python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")]
    pythons = [path for path in known if path.exists()]
    if not pythons:
        pytest.skip(f"there is no Python {version} here")
    result = subprocess.run([pythons[0], ROOT / "deploy.py"], capture_output=True, text=True, check=False)
    message, remedy = refused(result)
    assert message.startswith(f"Python {version}.") and message.endswith("is too old") and "3.11" in remedy


def test_a_python_that_was_not_tried_is_refused_with_those_that_were(checkout):
    checkout.at_start("import sys\nsys.version_info, sys.version = (3, 14, 0), '3.14.0 (main)'\n")
    message, remedy = refused(checkout.run("status"))
    assert message == "Python 3.14.0 has not been tried" and remedy == "run this with Python 3.11, 3.12 or 3.13"
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize("made_by", ["3.10.2", "3.99.0", ""])
def test_a_venv_of_another_version_of_python_is_made_again(checkout, made_by):
    (checkout.root / "version").write_text(made_by)
    checkout.run("status")
    (checkout.root / "version").unlink()
    checkout.installs()
    result = checkout.run("status")
    assert "Making .venv" in result.stderr and result.returncode == 7
    assert checkout.installs() == ["requirements.lock"]
    assert checkout.run("status").stderr == ""


def test_a_venv_that_is_a_link_is_replaced_and_what_it_leads_to_stays(checkout, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pyvenv.cfg").write_text("version = 3.9.1")
    (checkout.root / ".venv").symlink_to(elsewhere)
    assert checkout.run("status").returncode == 7
    assert [path.name for path in elsewhere.iterdir()] == ["pyvenv.cfg"]


def test_a_python_that_leaves_out_the_scripts_folder_finds_the_driver(checkout):
    assert checkout.run("status", PYTHONSAFEPATH="1").returncode == 7
    python = checkout.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(sys.executable)
    (checkout.root / "labelpod" / "__main__.py").write_text("print('found')")
    assert checkout.run("status", PYTHONSAFEPATH="1").stdout == "found\n"


def test_a_colon_in_the_folders_path_is_refused_before_anything_is_made(tmp_path, programs):
    checkout = Checkout(tmp_path / "a:b", programs)
    message, remedy = refused(checkout.run("status"))
    assert "':'" in message and remedy == f"move {checkout.root}" and not (checkout.root / ".venv").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error(checkout):
    checkout.root.chmod(0o555)
    refused(checkout.run("status"))


def test_a_full_disk_is_an_error(checkout):
    checkout.at_start(
        "import pathlib\ndef full(*_):\n    raise OSError(28, 'No space left on device')\n"
        "pathlib.Path.write_text = full\n"
    )
    message, _ = refused(checkout.run("status"))
    assert message.endswith("No space left on device")


@pytest.mark.parametrize("after", [0.03, 0.06, 0.1, 0.15, 0.2])
def test_ctrl_c_at_the_start_ends_with_130_and_no_traceback(after):
    driver = [sys.executable, "-m", "labelpod", "--version"]
    # The launcher starts the driver with the signal held back; a process inherits that.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    process = subprocess.Popen(driver, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, "Traceback" in err) in ((130, False), (0, False)), out + err


def test_ctrl_c_while_the_launcher_works_ends_with_130(checkout):
    checkout.pip("kill -2 $PPID; sleep 0.1 2>/dev/null; exit 1")
    result = checkout.run("status")
    assert result.returncode == 130 and "Traceback" not in result.stderr


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can work for another user")


@pytest.fixture
def theirs(checkout):
    """A checkout of another user's, in which root works as under sudo."""
    for path in (checkout.root, *checkout.root.rglob("*")):
        os.chown(path, 12345, 12345)
    for folder in checkout.root.parents:
        if folder.stat().st_uid == 0 and str(folder).startswith(tempfile.gettempdir() + os.sep):
            folder.chmod(0o755)
    return checkout


@AS_ROOT
def test_what_root_makes_in_a_users_folder_is_the_users(theirs):
    theirs.python = Path("/usr/bin/python3.11")
    if not theirs.python.exists():
        pytest.skip("there is no Python that everybody can run")
    result = theirs.run("status")
    assert result.returncode == 7 and "-B -m labelpod" in result.stdout, result.stderr
    made = [theirs.root / ".venv", *(theirs.root / ".venv").rglob("*")]
    assert {path.lstat().st_uid for path in made} == {12345} and len(made) > 4


@AS_ROOT
def test_a_python_that_only_root_can_run_is_refused(theirs, tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    theirs.python = private / "python3"
    theirs.python.symlink_to(sys.executable)
    message, remedy = refused(theirs.run("status"))
    assert "12345" in message and str(private) in message and "sudo /usr/bin/python3 deploy.py" in remedy
    assert not (theirs.root / ".venv").exists()


NO_VENV = "import os, sys\nsys.modules['ensurepip'] = None\nos.geteuid = lambda: {uid}\n"
INSTALL = "apt-get install -qy --no-install-recommends python3-venv"


@pytest.mark.parametrize(("uid", "arguments"), [(1000, ["up", "--yes"]), (0, ["up"])])
def test_a_python_without_its_venv_module_is_an_error_with_the_command(checkout, uid, arguments):
    """An ordinary user may not install it, and root is not asked without a terminal."""
    checkout.programs.add("apt-get")
    checkout.at_start(NO_VENV.format(uid=uid))
    message, remedy = refused(checkout.run(*arguments))
    assert message.startswith("this Python has no venv module") and remedy == f"run: sudo {INSTALL}"
    assert checkout.programs.calls("apt-get") == []


def test_without_apt_the_missing_venv_module_is_an_error(checkout):
    checkout.at_start(NO_VENV.format(uid=0))
    assert refused(checkout.run("up", "--yes"))[0] == "this Python has no venv module"


def test_with_a_yes_root_gets_the_venv_module(checkout):
    checkout.programs.add("apt-get")
    checkout.at_start(NO_VENV.format(uid=0))
    assert checkout.run("up", "--yes").returncode == 7
    assert checkout.programs.calls("apt-get") == ["update -q", INSTALL.removeprefix("apt-get ")]


def test_a_failing_apt_is_told_in_its_own_words(checkout):
    checkout.programs.add("apt-get", "echo 'E: Could not get lock' >&2; exit 100")
    checkout.at_start(NO_VENV.format(uid=0))
    message, remedy = refused(checkout.run("up", "--yes"))
    assert message == "apt-get update -q failed: E: Could not get lock" and remedy


def test_the_mark_is_the_locks_own_digest(checkout):
    checkout.run("status")
    digest = hashlib.sha256((checkout.root / "requirements.lock").read_bytes()).hexdigest()
    assert (checkout.root / ".venv" / "driver.installed").read_text() == digest


def test_the_driver_is_told_where_the_user_stands(checkout, tmp_path):
    checkout.run("status")
    (checkout.root / ".venv" / "bin" / "python").write_text('#!/bin/sh\necho "$PWD $LABELPOD_STARTED_IN"\n')
    assert checkout.run("status").stdout == f"{checkout.root} /\n"


def test_a_folder_that_is_gone_is_said(checkout, tmp_path):
    checkout.run("status")
    (tmp_path / "gone").mkdir()
    command = f"cd {tmp_path}/gone && rmdir ../gone && exec {sys.executable} {checkout.root}/deploy.py status"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert refused(result)[0] == "the folder that you are in is gone"
