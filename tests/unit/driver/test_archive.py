"""Archives of models on the user's machine: stand-ins for the container say and read what a test wants."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from labelpod import cli
from labelpod.clients.label_server import LabelServer
from labelpod.docker.stack import Stack
from labelpod.errors import DeployError
from labelpod.models import archive as models
from tests.support.paths import ROOT
from tests.support.waiting import eventually

PLAIN = bytes(range(256)) * 5000  # more than one piece
READ = "sys.stdin.buffer.read()"
MODEL = {"name": "deepgrow_2d", "weights": "trained", "size": 31165965, "sha256": "ab" * 32, "run": "20260102_030405"}
MODEL |= {"dice": 0.8125, "studies": 12, "epochs": 50, "imported": None}
UNTRAINED = dict.fromkeys(MODEL) | {"name": "deepgrow_3d", "weights": "untrained"}


class Container:
    """What a prefix leads to: a Python program, which notes its number and arguments."""

    def __init__(self, folder: Path) -> None:
        self._program, self._noted = folder / "container.py", folder / "noted"

    def does(self, program: str) -> list[str]:
        """The prefix of a command that does this, whatever it is asked."""
        note = f"open({str(self._noted)!r}, 'a').write(f'{{os.getpid()}} ' + ' '.join(sys.argv[1:]) + '\\n')"
        self._program.write_text(f"import os, sys, time\n{note}\n{program}\n")
        return [sys.executable, str(self._program)]

    def says(self, result: Any, code: int = 0) -> list[str]:
        return self.does(f"{READ}\nprint({json.dumps(result)!r})\nsys.exit({code})")

    def refuses(self, reason: str) -> list[str]:
        return self.does(f"print('a warning', 'archive: {reason}', sep='\\n', file=sys.stderr)\nsys.exit(1)")

    @property
    def asked(self) -> list[str]:
        """The arguments of each call."""
        return [line.partition(" ")[2] for line in self._lines()]

    @property
    def running(self) -> bool:
        """Whether the last program still does."""
        return Path("/proc", self._lines()[-1].partition(" ")[0]).exists()

    def _lines(self) -> list[str]:
        return self._noted.read_text().splitlines() if self._noted.exists() else []


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where an archive goes, in a folder of its own."""
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives" / "models.tar.zst"


@pytest.fixture
def archive(file: Path) -> Path:
    file.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(PLAIN))
    return file


def left(file: Path) -> list[str]:
    return [path.name for path in file.parent.iterdir()]


# --- out ---


def test_an_export_is_compressed_and_private(container, file, capsys):
    models.export(container.does(f"sys.stdout.buffer.write(bytes(range(256)) * {len(PLAIN) // 256})"), "m", file)
    with file.open("rb") as stream:
        assert zstandard.ZstdDecompressor().stream_reader(stream).read() == PLAIN
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and left(file) == [file.name]
    assert container.asked == ["start_server python -m label_server.models export m"]
    assert "start_server python -m label_server.models export m" in capsys.readouterr().err


def test_export_of_all_says_what_is_left_out(container, file, capsys):
    program = "print('archive: left out: m: untrained', file=sys.stderr); sys.stdout.buffer.write(b'tar')"
    models.export(container.does(program), None, file)
    assert container.asked == ["start_server python -m label_server.models export --all"]
    assert "left out: m: untrained\n" in capsys.readouterr().err and file.exists()


def test_a_refused_export_leaves_no_file(container, file):
    with pytest.raises(DeployError, match=r"^m has no weights$") as refused:
        models.export(container.refuses("m has no weights"), "m", file)
    assert "models list" in refused.value.remedy and left(file) == []


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit(137)", "sys.exit(1)"])
def test_an_export_that_breaks_off_leaves_no_half_file(container, file, end):
    program = f"sys.stdout.buffer.write(b'x' * 3_000_000); print('Error: gone', file=sys.stderr, flush=True); {end}"
    with pytest.raises(DeployError, match="Error: gone"):
        models.export(container.does(program), "m", file)
    assert left(file) == []


def test_words_of_before_are_not_taken_for_the_reason_of_a_sudden_end(container, file):
    with pytest.raises(DeployError) as refused:
        models.export(container.does("print('archive: left out: n', file=sys.stderr); sys.exit(137)"), "m", file)
    assert refused.value.remedy == "python3 deploy.py up"


def test_a_file_that_is_there_is_not_written_over(container, file):
    file.write_text("mine")
    with pytest.raises(DeployError, match="already exists"):
        models.export(container.says([]), "m", file)
    assert file.read_text() == "mine" and container.asked == []


def test_where_nothing_can_be_written_the_server_is_not_asked(container, tmp_path):
    with pytest.raises(DeployError, match="cannot be written: No such file or directory"):
        models.export(container.says([]), "m", tmp_path / "nowhere" / "models.tar.zst")
    assert container.asked == []


def test_a_full_disk_leaves_no_half_file_and_says_so(container, file):
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from pathlib import Path; from labelpod.models import archive as models;"
        f"models.export({container.does('sys.stdout.buffer.write(os.urandom(3_000_000))')!r}, 'm', Path({str(file)!r}))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "models.tar.zst cannot be written: File too large" in result.stderr and left(file) == []


@pytest.mark.parametrize("verb", ["export", "import"])
def test_an_interrupted_verb_ends_at_once_and_leaves_no_half_file(container, file, tmp_path, verb):
    prefix = container.does(f"sys.stdout.buffer.write(b'x' * 3_000_000); {READ}; time.sleep(60)")
    source = tmp_path / "in.tar.zst"
    source.write_bytes(zstandard.compress(PLAIN))
    program = (
        "import sys; from labelpod import cli; from labelpod.docker import stack;"
        f"stack.Stack.exec_prefix = lambda *_: {prefix!r}; sys.exit(cli.main(sys.argv[1:]))"
    )
    words = ["models", "export", "m", str(file)] if verb == "export" else ["models", "import", str(source)]
    process = subprocess.Popen([sys.executable, "-c", program, *words], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    eventually(lambda: container.asked, 10, "the container is asked")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130 and "Interrupted" in process.stderr.read()
    eventually(lambda: not container.running, 5, "the container's program ends, too")
    assert left(file) == []


# --- in ---


def test_an_archive_reaches_the_server_as_it_was_before_it_was_compressed(container, archive):
    outcome = [{"name": "m", "outcome": "imported", "kept": None, "note": None}]
    program = f"assert {READ} == bytes(range(256)) * {len(PLAIN) // 256}; print({json.dumps(outcome)!r})"
    assert models.take(container.does(program), archive) == outcome
    assert container.asked == ["start_server python -m label_server.models import"]


def test_the_servers_refusal_is_the_reason_even_where_it_reads_no_further(container, archive):
    archive.write_bytes(zstandard.compress(os.urandom(5_000_000)))
    with pytest.raises(DeployError, match=r"is not imported: its format is 2$") as refused:
        models.take(container.refuses("its format is 2"), archive)
    assert refused.value.remedy.startswith("nothing has changed")


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "ends in the middle"),
    "no zstd": (lambda _: b"PK\x03\x04" * 99, "is no archive of models, or it is damaged"),
    "plain": (lambda _: PLAIN, "is no archive of models, or it is damaged"),
    "without its last byte": (lambda good: good[:-1], "ends in the middle"),
    "half": (lambda good: good[: len(good) // 2], "ends in the middle"),
    "a changed byte": (lambda good: good[:-20] + b"!" + good[-19:], "is damaged"),
    "with a tail": (lambda good: good + b"x", "something follows its end"),
    "twice": (lambda good: good + good, "something follows its end"),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_file_never_reaches_the_server(container, archive, how):
    damage, reason = DAMAGED[how]
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(DeployError, match=reason):
        models.take(container.says([]), archive)
    with pytest.raises(DeployError, match=reason):
        models.verify(container.says({}), archive)
    assert container.asked == []


@pytest.mark.parametrize("name", [".", "nowhere"])
def test_what_cannot_be_read_is_said(container, file, name):
    with pytest.raises(DeployError, match="cannot be read"):
        models.take(container.says([]), file.parent / name)


def test_little_that_stands_for_much_is_taken_in_little_by_little(container, archive):
    with archive.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packed:
        for _ in range(512):
            packed.write(bytes(2**20))
    assert archive.stat().st_size < 100_000
    assert max(map(len, models._plain(archive))) <= 2**25


# --- both ---


@pytest.mark.parametrize("reason", ["service label-server is not running", ""])
def test_where_docker_fails_its_last_line_is_shown(container, reason):
    prefix = container.does(f"print('Network made\\n{reason}', file=sys.stderr); sys.exit(125)")
    with pytest.raises(DeployError, match=reason or "Network made") as refused:
        models.listing(prefix)
    assert refused.value.remedy == "python3 deploy.py up"


def test_where_there_is_no_docker_that_is_said():
    with pytest.raises(DeployError, match="no-such-program: No such file"):
        models.listing(["no-such-program"])


@pytest.mark.parametrize(("code", "ok"), [(0, True), (1, False)])
def test_verify_gives_the_servers_verdict_good_or_bad(container, archive, code, ok):
    verdict = {"ok": ok, "models": ["m"], "problems": [] if ok else ["m: it holds no weights", "n: unknown"]}
    prefix = container.says(verdict, code)
    assert models.verify(prefix, None) == models.verify(prefix, archive) == verdict
    assert [words.split()[-1] for words in container.asked] == ["verify", "-"]
    assert models.verified(verdict) == ("Sound: m" if ok else "m: it holds no weights\nn: unknown")


def test_people_see_name_weights_size_checksum_run_and_dice():
    head, trained, untrained = models.table([MODEL, UNTRAINED]).splitlines()
    for words in ("deepgrow_2d ", " trained ", "31.2 MB", " abababababab ", "20260102_030405", "0.812"):
        assert words in trained
    assert untrained.split() == ["deepgrow_3d", "untrained", "-", "-", "-", "-"] and head.split()[-1] == "Dice"


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ({"run": None}, "unknown"),
        ({"imported": "2026-01-02T03:04:05+00:00"}, "trained, imported"),
        ({"weights": "uploaded", "run": None, "imported": "2026-01-02T03:04:05+00:00"}, "uploaded  "),
        ({"weights": "pretrained", "run": None}, "-  "),
    ],
)
def test_where_weights_come_from_is_said_or_that_nobody_knows(known, shown):
    assert shown in models.table([MODEL | known])


def test_without_models_that_is_what_is_said():
    assert models.table([]) == "There is no model that has weights of its own"


def test_what_became_of_each_model_is_said():
    kept = {"name": "a", "outcome": "imported", "kept": "a.pt.1.replaced", "note": "it was trained on x"}
    new, same = kept | {"name": "b", "kept": None, "note": None}, kept | {"name": "c", "outcome": "unchanged"}
    a, note, b, c = models.imported([kept, new, same]).splitlines()
    assert a.startswith("a: imported") and a.endswith("kept as a.pt.1.replaced") and note == "a: it was trained on x"
    assert b.startswith("b: imported") and "kept" not in b and c.startswith("c: unchanged")


# --- from the command line ---


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a verb in a container of a test's own."""

    def run(prefix: list[str], *words: str) -> int:
        monkeypatch.setattr(Stack, "exec_prefix", lambda *_: prefix)
        return cli.main(["models", *words])

    return run


def test_list_is_for_people_and_for_programs(container, run, capsys):
    prefix = container.says([MODEL, UNTRAINED])
    assert run(prefix, "list") == 0 and "31.2 MB" in capsys.readouterr().out
    assert run(prefix, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [MODEL, UNTRAINED]


@pytest.mark.parametrize(
    ("words", "asked"), [(("m", "FILE"), "m"), (("--all", "FILE"), "--all"), (("FILE", "--all"), "--all")]
)
def test_export_takes_a_model_or_all(container, run, file, capsys, words, asked):
    assert run(container.says([]), "export", *[str(file) if word == "FILE" else word for word in words]) == 0
    assert container.asked[0].endswith(f"export {asked}") and file.exists()
    assert capsys.readouterr().out == f"{file} written\n"


@pytest.mark.parametrize("words", [(), ("FILE",), ("m", "FILE", "--all"), ("m", "n", "FILE"), ("--all",)])
def test_export_of_neither_or_both_is_wrong_usage(container, run, file, words):
    assert run(container.says([]), "export", *[str(file) if word == "FILE" else word for word in words]) == 2
    assert container.asked == []


def test_a_refused_import_exits_with_1(container, run, archive, capsys):
    outcome = [{"name": "m", "outcome": "unchanged", "kept": None, "note": None}]
    assert run(container.says(outcome), "import", str(archive)) == 0
    assert capsys.readouterr().out == "m: unchanged, these weights serve already\n"
    assert run(container.refuses("m: it holds no weights"), "import", str(archive)) == 1
    assert f"Error: {archive} is not imported: m: it holds no weights\n       nothing" in capsys.readouterr().err


@pytest.mark.parametrize("ok", [True, False])
def test_verify_exits_with_1_where_something_is_wrong(container, run, archive, capsys, ok):
    verdict = {"ok": ok, "models": ["m"], "problems": [] if ok else ["m: it holds no weights"]}
    assert run(container.says(verdict, int(not ok)), "verify", str(archive), "--json") == int(not ok)
    assert json.loads(capsys.readouterr().out) == verdict


def test_an_image_of_an_earlier_version_is_told_as_that(container, file):
    prefix = container.does("print('No module named label_server', file=sys.stderr); sys.exit(1)")
    with pytest.raises(DeployError, match="No module named") as refused:
        models.export(prefix, "m", file)
    assert "earlier version" in refused.value.remedy and left(file) == []


def test_of_several_label_servers_the_one_that_trains_is_asked(container, monkeypatch: pytest.MonkeyPatch):
    """Only there it is seen that a model is being trained."""
    asked = []
    prefix = container.says([MODEL])
    monkeypatch.setattr(Stack, "exec_prefix", lambda _, host: asked.append(host) or prefix)
    monkeypatch.setattr(LabelServer, "info", lambda _: {"server": "0123abcd"})
    monkeypatch.setenv("LABELPOD_LABEL_SERVERS", "2")
    assert cli.main(["models", "list"]) == 0
    monkeypatch.setenv("LABELPOD_LABEL_SERVERS", "1")
    assert cli.main(["models", "list"]) == 0
    assert asked == ["0123abcd", ""]
