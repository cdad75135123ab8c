"""The label server's own defaults are the settings': it starts alike with Compose and without."""

import json
import re

import pytest

from label_server import settings as server
from labelpod import render as rendering
from labelpod.config.settings import Settings
from labelpod_common.series_metadata import CONFIRMED, LEASE, REVIEW
from tests.support.paths import ROOT

LIMITS = {
    "MAX_BODY_BYTES": ("MAX_BODY_MB", 2**20),
    "MAX_HEADER_BYTES": ("MAX_HEADER_KB", 2**10),
    "MAX_VOLUME_BYTES": ("MAX_VOLUME_MB", 2**20),
    "MAX_REQUESTS_PER_USER": ("MAX_REQUESTS_PER_USER", 1),
    "SLOW_CLIENT_SECONDS": ("SLOW_CLIENT_SECONDS", 1),
    "INFER_QUEUE": ("INFER_QUEUE", 1),
    "SAMPLE_LEASE_SECONDS": ("SAMPLE_LEASE", 60),
    "CACHE_MAX_BYTES": ("CACHE_MAX_GB", 2**30),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_of_the_server_is_the_settings_default(name):
    setting, unit = LIMITS[name]
    assert getattr(server, name) == Settings.model_fields[setting].default * unit


def test_which_labels_of_others_count_is_the_settings_default():
    assert Settings.model_fields["FOREIGN_LABELS"].default == server.FOREIGN_LABELS


def test_start_servers_defaults_are_the_settings():
    text = (ROOT / "templates" / "start_server.sh.j2").read_text()
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^}$]*)\}", text))
    shared = {name: value for name, value in defaults.items() if name in Settings.model_fields and value}
    assert {"APP", "STUDIES_WAIT", "WEIGHTS_WAIT", "STUDIES_MODALITY"} <= set(shared)
    assert shared == {name: str(Settings.model_fields[name].default) for name in shared}


def test_orthanc_registers_what_label_servers_share_and_lets_them_write_it():
    settings = json.loads(rendering.render(Settings(), ROOT / "templates")["orthanc.json"])
    assert set(settings["UserMetadata"]) == {LEASE, REVIEW, CONFIRMED} and settings["CheckRevisions"] is True
    access = (ROOT / "images" / "orthanc" / "access.lua").read_text()
    assert all(f"/metadata/{name.replace('-', '%-')}$" in access for name in (LEASE, REVIEW, CONFIRMED))
