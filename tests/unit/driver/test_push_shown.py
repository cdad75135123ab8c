"""What a push without a problem says: which studies it has sent, and what comes next."""

from dataclasses import replace
from pathlib import Path

import pytest

from labelpod.dicom import phantom, preflight
from labelpod.dicom.preflight import Series
from labelpod.studies import push


@pytest.fixture
def series(tmp_path: Path) -> list[Series]:
    """Two studies of one patient."""
    for seed in (1, 2):
        phantom.write(tmp_path / str(seed), slices=10 * seed, size=16, seed=seed)
    return sorted(preflight.scan([tmp_path]).series, key=lambda each: len(each.files))


def shown(taken: list[Series]) -> list[str]:
    outcome = push.Outcome(sent=30, already=0, skipped=0, taken=taken, refused=[], doubtful=[], errors=[])
    assert push.outcome_json(outcome)["studies"] == sorted({each.study_uid for each in taken})
    return push.outcome_table(outcome).plain.splitlines()


def test_a_clean_push_names_its_studies_and_what_comes_next(series):
    lines = shown(series)
    assert lines[:2] == [
        f"{each.study_uid}  {count} instances  CT  SYNTHETIC chest CT phantom, not a patient"
        for each, count in zip(series, (10, 20), strict=True)
    ]
    assert lines[2] == "30 instances sent, 0 there already"
    assert lines[3].startswith("Next: ") and "deploy.py status" in lines[3] and len(lines) == 4
    assert series[0].files[0].header.patient_id not in str(lines), "nothing tells the patient"


def test_of_many_studies_the_first_are_named(series):
    lines = shown([replace(series[0], study_uid=f"1.2.{number}") for number in range(25)])
    assert [line.split()[0] for line in lines[:20]] == [f"1.2.{number}" for number in range(20)]
    assert lines[20] == "and 5 more"
