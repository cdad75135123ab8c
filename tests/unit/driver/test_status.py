"""What `status` says of a stack, and how it asks."""

import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from labelpod import cli, status
from labelpod.config import addresses
from labelpod.config.settings import Settings
from labelpod.docker.stack import last_word
from labelpod.security import certificate

TOKEN = "t" * 32
INFO = {"device": "CPU", "labels": ["one"], "models": {}, "datastore": {"total": 2, "completed": 1}}


def container(health: str = "healthy", **ports: tuple[str, int]) -> SimpleNamespace:
    """A container that runs, and its ports on the host: `port_8000=("127.0.0.1", 1)`."""
    published = {
        f"{name.removeprefix('port_')}/tcp": [{"HostIp": address, "HostPort": str(port)}]
        for name, (address, port) in ports.items()
    }
    return SimpleNamespace(
        state=SimpleNamespace(status="running", health=SimpleNamespace(status=health)),
        network_settings=SimpleNamespace(ports=published | {"22/tcp": None}),
    )


@pytest.fixture
def collect(web) -> Callable[..., dict]:
    """The state of a stack whose label server is the stand-in."""

    def run(health: str = "", others: tuple[str, ...] = (), **values: str) -> dict:
        settings = Settings(
            LABEL_SERVER_PORT=int(web.url.rpartition(":")[2]), LABEL_SERVER_TOKEN=TOKEN, ORTHANC_PASSWORD="p"
        )
        settings = settings.model_copy(update=values)
        containers = {"label-server": container(health)} if health else {}
        containers |= {name: container("healthy") for name in others}
        return status.collect(SimpleNamespace(values=settings, containers=lambda: containers))

    return run


def test_urls_are_ready_to_paste(collect, web):
    state = collect()
    assert state["label_server"]["url"] == f"{web.url}/{TOKEN}/"
    assert state["ohif"]["url"] == f"{web.url}/{TOKEN}/ohif/"
    assert state["orthanc"]["url"] == "http://127.0.0.1:8042/"
    for url in (state["label_server"]["url"], state["ohif"]["url"]):
        assert url in status.text(state)


def test_the_token_is_sent_in_a_header_and_never_in_a_url(collect, web):
    web.pages["/info/"] = web.answer(200, json.dumps(INFO).encode())
    assert collect()["label_server"]["ready"] is True
    ((path, headers),) = web.asked
    assert path == "/info/" and headers["Authorization"] == f"Bearer {TOKEN}"


def test_labels_that_cannot_be_read_are_said_with_the_reason(collect, web):
    unread = [{"image": "1.2", "SeriesInstanceUID": "1.3", "reason": "its frames are \x1b[31msmall"}] * 2
    info = INFO | {"datastore": INFO["datastore"] | {"unread_labels": unread}}
    web.pages["/info/"] = web.answer(200, json.dumps(info).encode())
    state = collect()
    assert state["studies"]["unread_labels"] == unread
    text = status.text(state)
    assert "2 labels of other programs cannot be read: its frames are" in text and "\x1b" not in text
    web.pages["/info/"] = web.answer(200, json.dumps(INFO).encode())
    assert "cannot be read" not in status.text(collect())


def test_images_that_are_not_offered_are_said_with_the_reason(collect, web):
    info = INFO | {"datastore": INFO["datastore"] | {"left_out": {"1.2": "localizer: \x1b[31mit is one"}}}
    web.pages["/info/"] = web.answer(200, json.dumps(info).encode())
    state = collect()
    assert state["studies"]["left_out"] == {"1.2": "localizer: \x1b[31mit is one"}
    assert "1 more not offered: localizer:" in status.text(state) and "\x1b" not in status.text(state)


def test_a_token_that_is_not_the_servers_is_said_with_what_to_do(collect, web):
    web.pages["/info/"] = web.answer(401)
    server = collect()["label_server"]
    assert server["ready"] is False and "deploy.py up" in server["problem"] and TOKEN not in server["problem"]


def test_a_server_that_has_no_answer_is_not_ready(collect, web):
    web.pages["/info/"] = web.answer(503)
    server = collect()["label_server"]
    assert server["ready"] is False and "503" in server["problem"]


@pytest.mark.parametrize("health", ["starting", "unhealthy"])
def test_a_server_that_still_loads_is_told_from_one_that_does_not_answer(collect, web, health: str):
    web.pages["/info/"] = web.answer(503)
    state = collect(health)
    assert state["label_server"]["ready"] is False
    assert ("starting: it has not answered yet" in status.text(state)) == (health == "starting")


def test_a_server_that_answers_is_ready_before_docker_looks(collect, web):
    web.pages["/info/"] = web.answer(200, json.dumps(INFO).encode())
    assert collect("starting") == collect("healthy")


def test_status_shows_an_address_others_can_reach(collect, web):
    web.pages["/info/"] = web.answer(200, json.dumps(INFO).encode())
    state = collect(BIND_ADDRESS="0.0.0.0")
    assert state["label_server"]["ready"] is True
    assert "0.0.0.0" not in json.dumps(state)


def test_dicom_has_an_address_of_its_own(collect):
    state = collect(ORTHANC_BIND_ADDRESS="127.0.0.2", DICOM_BIND_ADDRESS="127.0.0.3", ORTHANC_PORT=1, DICOM_PORT=2)
    assert (state["orthanc"]["url"], state["orthanc"]["dicom"]) == ("http://127.0.0.2:1/", "LABELPOD@127.0.0.3:2")


def test_the_database_is_told_where_it_is_a_service(collect):
    state = collect(ORTHANC_DB="postgres")
    assert state["orthanc"]["database"] == "postgres" and state["postgres"] == {"state": "not started"}
    assert "PostgreSQL    not started" in status.text(state)
    assert "PostgreSQL" not in status.text(collect())


def test_the_door_is_told_where_it_is_a_service(collect):
    state = collect(ORTHANC_BIND_ADDRESS="0.0.0.0")
    assert state["door"] == {"state": "not started"} and "Door          not started" in status.text(state)
    assert "door" not in collect() and "Door" not in status.text(collect())


def test_each_of_several_label_servers_counts(web):
    web.pages["/info/"] = web.answer(200, json.dumps(INFO).encode())
    here = ("127.0.0.1", int(web.url.rpartition(":")[2]))
    containers = {"label-server": container(), "label-server-2": container(), "orthanc": container()}
    containers["door"] = container(port_8000=here, port_8042=here)
    web.pages["/system"] = web.answer(200, json.dumps({"ApiVersion": 27}).encode())
    values = Settings(LABEL_SERVERS="2", LABEL_SERVER_TOKEN=TOKEN)
    one = SimpleNamespace(values=values, containers=lambda: containers)
    state = status.collect(one)
    assert state["label_server"]["url"] == f"{web.url}/{TOKEN}/", "where the door is"
    assert "2 of 2 servers run" in status.text(state) and status.well(state)
    second = {"error": "", "oom_killed": False, "exit_code": 137}
    containers["label-server-2"] = SimpleNamespace(state=SimpleNamespace(status="exited", **second), mounts=[])
    state = status.collect(one)
    assert state["label_server"]["servers"] == ["running", "exited"]
    assert "1 of 2 servers run" in status.text(state) and not status.well(state)


def test_of_two_orthancs_one_that_does_not_run_is_told_though_the_other_answers(web):
    web.pages["/info/"] = web.answer(200, json.dumps(INFO).encode())
    web.pages["/system"] = web.answer(200, json.dumps({"ApiVersion": 27}).encode())
    here = ("127.0.0.1", int(web.url.rpartition(":")[2]))
    dead = {"error": "", "oom_killed": False, "exit_code": 137}
    containers = {"label-server": container(port_8000=here), "orthanc-2": container(), "postgres": container()}
    containers["orthanc"] = SimpleNamespace(state=SimpleNamespace(status="exited", **dead), mounts=[])
    containers["door"] = container(port_8042=here)
    values = Settings(ORTHANC_DB="postgres", ORTHANC_SERVERS="2", LABEL_SERVER_TOKEN=TOKEN)
    one = SimpleNamespace(values=values, containers=lambda: containers)
    state = status.collect(one)
    assert state["orthanc"]["answers"] is True and state["orthanc"]["servers"] == ["exited", "running"]
    assert "1 of 2 servers run" in status.text(state) and not status.well(state)


def test_with_a_certificate_every_url_is_https(collect, monkeypatch):
    monkeypatch.setattr(certificate, "trust", lambda _: True)
    state = collect(TLS_CERT="cert.pem", TLS_KEY="key.pem")
    for url in (state["label_server"]["url"], state["ohif"]["url"], state["orthanc"]["url"]):
        assert url.startswith("https://127.0.0.1:")


def test_before_there_is_a_token_the_url_has_none():
    assert addresses.label_server(Settings(), "") == "http://127.0.0.1:8000/"


@pytest.mark.parametrize(
    ("address", "asked"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("10.0.0.7", "10.0.0.7")]
)
def test_this_machine_asks_where_the_port_is_open(address, asked):
    assert addresses.label_server_here(Settings(BIND_ADDRESS=address)) == f"http://{asked}:8000/"


ENDS = {
    "mount": ({"error": "mount src=/gone: no such file", "exit_code": 128}, "mount src=/gone: no such file"),
    "memory": ({"oom_killed": True, "exit_code": 137}, "too much memory"),
    "fault": ({"exit_code": 1}, "exit code 1: E0101 12:00:00 the disk is full"),
    "stopped": ({"exit_code": 143}, ""),
    "gone": ({"exit_code": 143}, "/absent/access.lua, which is mounted, is gone"),
    "ended": ({"exit_code": 0}, ""),
}


@pytest.mark.parametrize("service", ["orthanc", "label-server", "postgres", "door"])
@pytest.mark.parametrize("end", ENDS)
def test_status_gives_dockers_reason_for_what_does_not_run(collect, monkeypatch, service, end):
    told, reason = ENDS[end]
    state = SimpleNamespace(status="exited", **{"error": "", "oom_killed": False} | told)
    log = "E0101 12:00:00 the disk is full\nW0101 12:00:01 Orthanc has stopped\n"
    mounts = [SimpleNamespace(type="bind", source="/absent/access.lua")] if end == "gone" else []
    container = SimpleNamespace(state=state, logs=lambda tail: log, mounts=mounts)
    settings = Settings(
        LABEL_SERVER_PORT=1, LABEL_SERVER_TOKEN=TOKEN, ORTHANC_DB="postgres", ORTHANC_BIND_ADDRESS="0.0.0.0"
    )
    found = status.collect(SimpleNamespace(values=settings, containers=lambda: {service: container}))
    text = status.text(found)
    assert "exited" in text and reason in text
    assert reason or "exit code" not in text


@pytest.mark.parametrize(
    ("log", "word"),
    [
        ("E0101 no right to /db\nW0102 Orthanc has stopped", "E0101 no right to /db"),
        (
            "FATAL:  password authentication failed\nLOG:  database system is shut down",
            "FATAL:  password authentication",
        ),
        ("W0102 one\nW0102 Orthanc has stopped", "W0102 Orthanc has stopped"),
        ("E0101 an error\nstart_server: no weights\nbye", "no weights"),
    ],
    ids=["orthanc", "postgres", "no error", "start_server"],
)
def test_a_services_last_word_is_the_error_and_not_that_it_has_stopped(log, word):
    assert last_word(SimpleNamespace(logs=lambda tail: log)).startswith(word)


# --- what runs, and not what is set ---


def test_the_addresses_are_those_of_what_runs(web):
    web.pages["/info/"] = web.answer(200, json.dumps(INFO).encode())
    here = ("127.0.0.1", int(web.url.rpartition(":")[2]))
    containers = {
        "label-server": container(port_8000=here),
        "orthanc": container(port_8042=("127.0.0.2", 1), port_4242=("127.0.0.3", 2)),
    }
    changed = Settings(LABEL_SERVER_PORT=9, ORTHANC_PORT=9, DICOM_PORT=9, LABEL_SERVER_TOKEN=TOKEN)
    state = status.collect(SimpleNamespace(values=changed, containers=lambda: containers))
    assert state["label_server"]["url"] == f"{web.url}/{TOKEN}/" and state["label_server"]["ready"] is True
    assert (state["orthanc"]["url"], state["orthanc"]["dicom"]) == ("http://127.0.0.2:1/", "LABELPOD@127.0.0.3:2")
    containers["orthanc"], containers["door"] = (
        container(port_4242=("127.0.0.3", 2)),
        container(port_8042=("127.0.0.4", 3)),
    )
    state = status.collect(SimpleNamespace(values=changed, containers=lambda: containers))
    assert (state["orthanc"]["url"], state["orthanc"]["dicom"]) == ("http://127.0.0.4:3/", "LABELPOD@127.0.0.3:2")
    stopped = status.collect(SimpleNamespace(values=changed, containers=dict))
    assert stopped["label_server"]["url"] == f"http://127.0.0.1:9/{TOKEN}/"


def test_a_training_that_runs_is_shown(collect, web):
    progress = {"epoch": 3, "epochs": 10, "loss": []}
    stats = {"deepgrow_2d": {"progress": progress}, "deepgrow_3d": {"progress": None}, "deepedit": {}}
    web.pages["/info/"] = web.answer(200, json.dumps(INFO | {"train_stats": stats}).encode())
    state = collect()
    assert state["trainings"] == [{"model": "deepgrow_2d", "epoch": 3, "epochs": 10}]
    assert "Training      deepgrow_2d, epoch 3 of 10" in status.text(state)
    web.pages["/info/"] = web.answer(200, json.dumps(INFO).encode())
    assert collect()["trainings"] == [] and "Training" not in status.text(collect())


@pytest.fixture
def whole(collect, web) -> Callable[..., dict]:
    """The state of a stack of which all answers, but for what is said."""

    def run(server: int = 200, orthanc: int = 200, others: tuple[str, ...] = ("orthanc",), **values: str) -> dict:
        web.pages["/info/"] = web.answer(server, json.dumps(INFO).encode())
        web.pages["/system"] = web.answer(orthanc, json.dumps({"ApiVersion": 27}).encode())
        return collect("healthy", others, ORTHANC_PORT=int(web.url.rpartition(":")[2]), **values)

    return run


def test_all_is_well_if_every_service_answers(whole, monkeypatch):
    assert status.well(whole()) and whole()["orthanc"]["answers"] is True
    assert status.well(whole(others=("orthanc", "postgres"), ORTHANC_DB="postgres"))
    monkeypatch.setattr(addresses, "host", lambda _: "127.0.0.1")
    assert status.well(whole(others=("orthanc", "door"), ORTHANC_BIND_ADDRESS="0.0.0.0"))


def test_nothing_is_wrong_where_nothing_was_started(collect):
    assert status.well(collect()) and status.well(collect(ORTHANC_DB="postgres"))


@pytest.mark.parametrize(
    "what",
    [
        {"server": 503},
        {"orthanc": 503},
        {"orthanc": 401},
        {"others": ()},
        {"ORTHANC_DB": "postgres"},
        {"ORTHANC_BIND_ADDRESS": "0.0.0.0"},
    ],
    ids=["label server", "orthanc", "its password", "orthanc is gone", "database is gone", "door is gone"],
)
def test_not_well_if_a_service_does_not_answer(whole, what):
    assert not status.well(whole(**what))


def test_an_orthanc_that_runs_and_does_not_answer_is_said_with_what_to_do(whole):
    state = whole(orthanc=401)
    assert state["orthanc"]["answers"] is False and "running: " in status.text(state)
    assert state["orthanc"]["problem"] in status.text(state) and "password" in state["orthanc"]["problem"].lower()


def test_status_ends_with_1_unless_all_is_well(monkeypatch, whole, collect):
    for state, code in ((whole(), 0), (whole(server=503), 1), (collect(), 0)):
        monkeypatch.setattr(status, "collect", lambda _, state=state: state)
        for options in ([], ["--json"]):
            assert cli.main(["status", *options]) == code
