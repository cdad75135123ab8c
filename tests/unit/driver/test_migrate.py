"""Whether studies are sent from one Orthanc to another and proved to be there, and what stands in the way of `up`."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from labelpod import lifecycle
from labelpod.clients import orthanc as orthanc_rest
from labelpod.clients.orthanc import Connection, Orthanc
from labelpod.config.settings import Settings
from labelpod.docker import client
from labelpod.docker.stack import Stack
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.studies import copy, migrate


class Store(ThreadingHTTPServer):
    """An Orthanc in which instance `a1` belongs to series `a`; what is posted is `id=content`."""

    daemon_threads = True

    def __init__(self, **instances: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.instances = dict(instances)
        self.refuses: str = ""  # an instance that it does not take
        self.loses: str = ""  # an instance that it takes and does not keep
        self.dies_after: int | None = None
        self.posted: list[str] = []
        self.said: dict[str, str] = {}  # of a series
        self.hears_nothing = False

    def series(self) -> list[dict]:
        return [
            {
                "ID": name,
                "ParentStudy": "s",
                "Metadata": {"labelpod-review": said} if (said := self.said.get(name)) else {},
            }
            for name in sorted({each[0] for each in self.instances})
        ]

    def members(self, series: str) -> list[dict] | None:
        return [
            {"ID": name, "Attachments": [{"ContentType": 1, "UncompressedMD5": content}, {"ContentType": 3}]}
            for name, content in self.instances.items()
            if name[0] == series
        ] or None

    def take(self, name: str, content: str) -> bool:
        self.posted.append(name)
        if name not in (self.refuses, self.loses):
            self.instances.setdefault(name, content)
        return name != self.refuses


class _Handler(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        name = self.path.split("/")[-2]
        if self.path == "/system":
            self._answer({"ApiVersion": 1})
        elif name in self.server.instances:
            self._answer(f"{name}={self.server.instances[name]}")
        else:
            self._answer({"Message": "Unknown resource"}, 404)

    def do_PUT(self) -> None:
        _, _, series, _, name = self.path.split("/")
        assert name == "labelpod-review" and series in {each[0] for each in self.server.instances}
        if self.server.hears_nothing:
            self._answer({"Message": "Unknown metadata"}, 404)
            return
        self.server.said[series] = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer("")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        store = self.server
        if self.path == "/instances":
            if store.dies_after is not None and len(store.posted) >= store.dies_after:
                self.close_connection = True
                self.connection.close()
                store.shutdown_request(self.request)
                return
            good = store.take(*body.split("="))
            self._answer({"Status": "Success"} if good else {"Message": "Cannot store"}, 200 if good else 500)
            return
        question = json.loads(body)
        found = store.series() if question["Level"] == "Series" else store.members(question["ParentSeries"])
        self._answer(
            {"Message": "Accessing an inexistent item"} if found is None else found, 404 if found is None else 200
        )

    def _answer(self, content: object, status: int = 200) -> None:
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def old() -> Iterator[Store]:
    yield from serving(Store(a1="1", a2="2", b1="3"))


@pytest.fixture
def new() -> Iterator[Store]:
    yield from serving(Store())


def serving(store: Store) -> Iterator[Store]:
    threading.Thread(target=store.serve_forever, args=(0.01,), daemon=True).start()
    yield store
    store.shutdown()
    store.server_close()


@pytest.fixture
def everything(old: Store, new: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(orthanc_rest, "_PAUSES", (0,))

    def run() -> copy.Outcome:
        ends = [Orthanc(f"http://127.0.0.1:{store.server_port}", "labelpod", "secret") for store in (old, new)]
        with Connection(ends[0]) as source, Connection(ends[1]) as target:
            return copy.everything(source, target)

    return run


def test_everything_is_sent_and_proved(everything, old, new):
    assert everything() == copy.Outcome(studies=1, instances=3, sent=3, lacking={})
    assert new.instances == old.instances


def test_what_reviewers_have_said_is_sent_unless_they_have_said_more_since(everything, old, new):
    old.said = {"a": "größer", "b": "approved"}
    everything()
    assert new.said == old.said
    new.said["b"] = "flagged"
    everything()
    assert new.said == {"a": "größer", "b": "flagged"}


def test_where_nothing_can_be_said_of_labels_all_images_are_there_and_that_is_told(everything, old, new, capsys):
    old.said, new.hears_nothing = {"a": "approved"}, True
    assert not everything().lacking and new.said == {}
    assert "What a reviewer said of the label a was not taken along" in capsys.readouterr().err


def test_what_reviewers_have_said_waits_until_all_labels_are_there(everything, old, new):
    old.said, new.refuses = {"a": "approved"}, "b1"
    assert everything().lacking and new.said == {}


def test_what_is_there_already_is_not_sent_again(everything, new):
    new.instances |= {"a2": "2", "c9": "of its own"}
    assert everything() == copy.Outcome(studies=1, instances=3, sent=2, lacking={})
    assert sorted(new.posted) == ["a1", "b1"]
    assert everything().sent == 0 and len(new.posted) == 2


def test_the_old_one_is_only_read(everything, old):
    before = dict(old.instances)
    everything()
    assert old.instances == before and old.posted == []


def test_an_instance_that_is_refused_is_told_and_the_others_go_on(everything, new):
    new.refuses = "a2"
    outcome = everything()
    assert (outcome.sent, outcome.lacking) == (2, {"a2": "Orthanc refuses it: Cannot store"})


def test_an_instance_that_was_taken_and_not_kept_is_found_out(everything, new):
    new.loses = "b1"
    assert everything().lacking == {"b1": "it is not there"}


def test_other_content_under_the_same_uid_is_found_out(everything, new):
    new.instances["a1"] = "another"
    assert everything().lacking == {"a1": "its content is another there"}
    assert "a1" not in new.posted


def test_an_instance_whose_file_is_gone_is_told(everything, old, new):
    class Gone(dict):
        def __contains__(self, name: object) -> bool:
            return name != "a1" and super().__contains__(name)

    old.instances = Gone(old.instances)
    assert everything().lacking == {"a1": "Orthanc refuses it: Unknown resource"}


def test_after_an_interruption_it_goes_on_where_it_was(everything, old, new):
    new.dies_after = 1
    assert len(everything().lacking) == 2
    new.dies_after = None
    assert everything().sent == 2 and new.instances == old.instances


# --- what stands in the way of `up` ---


def stack_of(database: str) -> Stack:
    return Stack(Project(Path("/absent")), Settings(ORTHANC_DB=database))


@pytest.fixture
def volumes(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Docker's volumes, and the file in each; `moved` is the mark that its studies have been taken over."""
    there: dict[str, str] = {}

    def look(_image: str, command: list[str], volumes: list[tuple[str, str]], **_: object) -> str:
        files = there[volumes[0][0]]
        return "" if files == "moved" and "rm -f" not in command[1] else files

    engine = SimpleNamespace(
        volume=SimpleNamespace(exists=lambda name: name in there),
        container=SimpleNamespace(exists=lambda _: False),
        run=look,
    )
    monkeypatch.setattr(client, "client", lambda *_: engine)
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "ward")
    return there


@pytest.mark.parametrize(
    ("setting", "there"),
    [
        ("sqlite", {}),
        ("postgres", {}),
        ("sqlite", {"ward_orthanc-db": "file"}),
        ("postgres", {"ward_orthanc-db": "", "ward_orthanc-files": "file"}),
        ("postgres", {"another_orthanc-db": "file"}),
    ],
)
def test_where_the_other_database_holds_nothing_up_goes_on(volumes, setting, there):
    volumes |= there
    migrate.guard(stack_of(setting))


def test_what_was_taken_over_does_not_stop_up_until_the_new_store_is_gone(volumes):
    volumes |= {"ward_orthanc-db": "moved", "ward_orthanc-files": "file"}
    stack = stack_of("postgres")
    migrate.guard(stack)
    del volumes["ward_orthanc-files"]
    with pytest.raises(DeployError, match="the studies are in SQLite"):
        migrate.guard(stack)


def test_a_migration_with_nothing_to_migrate_starts_and_stops_nothing(volumes, monkeypatch, tmp_path):
    monkeypatch.setattr(lifecycle, "_ready", lambda *_: stack_of("sqlite"))
    words = lifecycle.migrate(Project(tmp_path), yes=True)
    assert words.startswith("Nothing to migrate: LABELPOD_ORTHANC_DB=sqlite")


@pytest.mark.parametrize(
    ("setting", "volume", "name", "back"),
    [
        ("postgres", "ward_orthanc-db", "SQLite", "sqlite"),
        ("sqlite", "ward_orthanc-files", "PostgreSQL", "postgres"),
    ],
)
def test_studies_that_would_not_be_seen_stop_up(volumes, setting, volume, name, back):
    volumes[volume] = "/var/lib/orthanc/db/0a/1b/0a1b"
    with pytest.raises(DeployError) as caught:
        migrate.guard(stack_of(setting))
    assert (
        caught.value.message == f"the studies are in {name}, and would not be seen with LABELPOD_ORTHANC_DB={setting}"
    )
    assert "studies migrate" in caught.value.remedy and f"LABELPOD_ORTHANC_DB={back}" in caught.value.remedy
