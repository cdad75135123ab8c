"""What a rented pod is started from: nothing of it is where another user or an earlier program could have put it."""

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

POD = ROOT / "images" / "label-server" / "pod"
FOLDER = "/home/labelpod/pod"
IN_TMP = re.compile(r"/tmp\b|mktemp(?! /home/labelpod/pod/)")


@pytest.mark.parametrize("file", sorted(POD.iterdir()), ids=lambda path: path.name)
def test_no_file_of_a_pod_is_in_a_folder_that_everybody_may_write_to(file: Path):
    assert not IN_TMP.search(file.read_text())


def test_sshd_looks_at_the_rights_of_its_files():
    assert "StrictModes yes" in (POD / "sshd_config").read_text().splitlines()


def test_the_pods_folder_is_made_with_the_image_for_its_user_only():
    assert (
        f"install -d -o labelpod -g labelpod -m 0700 {FOLDER}\n"
        in (ROOT / "templates" / "label-server.Dockerfile.j2").read_text()
    )
    for name in ("start_pod", "bashrc", "dicomweb_login"):
        assert FOLDER in (POD / name).read_text()
