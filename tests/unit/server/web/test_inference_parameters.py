"""What a client may say of an inference: what unmodified clients say passes, and nothing else."""

import json
from typing import Any

import pytest
from monailabel.interfaces.utils.app import app_instance

from label_server.errors import Refused
from label_server.web import inference_parameters
from tests.support.ct import Ct
from tests.support.web import Server

# As the modules of 3D Slicer and OHIF send them.
SLICER = {
    "foreground": [[181, 285, 25]],
    "background": [],
    "label": "nodule1",
    "roi": [],
    "device": "cpu",
    "reset_state": True,
    "result_extension": ".nrrd",
    "result_dtype": "uint8",
    "client_id": "user-xyz",
}
OHIF = {
    "points": [[1, 2, 3]],
    "point_labels": [1, 0],
    "label_prompt": [23],
    "dense": [[1, 2, 3]],
    "result_compress": False,
    "restore_label_idx": False,
    "label_info": [{"name": "nodule1", "idx": 1, "color": [1, 2, 3]}],
}


def infer(server: Server, uid: str, params: dict[str, Any]) -> Any:
    form = {"params": json.dumps(params)}
    return server.ask("POST", f"/infer/threshold?image={uid}&output=json", "anna", data=form)


@pytest.mark.parametrize("params", [{}, SLICER, OHIF, {"above": -500}, {"label": "", "slice": None}])
def test_what_clients_say_passes(server: Server, image: Ct, params: dict[str, Any]):
    assert infer(server, image.uid, params).status_code == 200


@pytest.mark.parametrize(
    "params",
    [
        {"result_dtype": "S20000"},
        {"result_dtype": "float64"},
        {"result_dtype": 7},
        {"result_extension": ".py"},
        {"spatial_size": [9999, 9999, 9999]},
        {"pipeline_mode": True},
        {"skip_writer": True},
        {"sw_batch_size": 10000},
        {"result_write_to_file": False},
        {"label_names": {"x": 1}},
        {"foreground": [[1, 2, float("1e300")]]},
        {"foreground": [["1", "2", "3"]]},
        {"foreground": [[1] * 5]},
        {"foreground": "x"},
        {"foreground": {"a": [1]}},
        {"roi": [1, 2]},
        {"slice": True},
        {"reset_state": "x"},
        {"above": "x"},
        {"above": True},
        {"device": "cuda:0; x"},
        {"client_id": "x" * 129},
        {"label_info": ["x"]},
        {"max_workers": 64},
    ],
    ids=lambda params: next(iter(params)),
)
def test_anything_else_is_refused_before_the_model_runs(server: Server, image: Ct, label_app: Any, params: dict):
    answer = infer(server, image.uid, params)
    assert answer.status_code == 400, answer.text
    assert label_app._infers["threshold"].asked == []


def test_an_inference_over_all_images_may_say_more(server: Server):
    wanted = {"max_workers": 2, "gpus": "0,1", "multi_gpu": True, "save_label": True, "label_tag": "original"}
    app_instance()
    inference_parameters.check("threshold", wanted | {"max_batch_size": 0}, batch=True)
    with pytest.raises(Refused):
        inference_parameters.check("threshold", {"gpus": "all; x"}, batch=True)
    answer = server.ask("POST", "/batch/infer/threshold", "admin", json={"spatial_size": [9999]})
    assert answer.status_code == 400


def test_a_strategy_gets_what_it_offers(server: Server, image: Ct):
    assert server.ask("POST", "/activelearning/first", "anna", json={"client_id": "a"}).status_code == 200
    assert server.ask("POST", "/activelearning/first", "anna", json={"x": "a"}).status_code == 400
    assert server.ask("POST", "/activelearning/first", "anna", json={"client_id": "a" * 5000}).status_code == 400


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"max_epochs": 0}, 400),
        ({"max_epochs": 1.5}, 400),
        ({"max_epochs": 3}, 200),
        ({"val_split": 3}, 400),
        ({"val_split": 1}, 400),
        ({"val_split": -0.1}, 400),
        ({"val_split": 0}, 200),
        ({"early_stop_patience": -1}, 200),
        ({"early_stop_patience": -2}, 400),
        ({"early_stop_patience": 5}, 200),
    ],
)
def test_a_training_takes_numbers_that_mean_something(server: Server, monkeypatch, wanted: dict, status: int):
    monkeypatch.setattr("monailabel.utils.async_tasks.task.run_background_task", lambda request, method: {})
    assert server.ask("POST", "/train/threshold?enqueue=true", "admin", json=wanted).status_code == status


def test_true_is_no_number_of_epochs(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("monailabel.utils.async_tasks.task.run_background_task", lambda request, method: {})
    assert server.ask("POST", "/train/threshold?enqueue=true", "admin", json={"max_epochs": True}).status_code == 400
    assert server.ask("POST", "/train/threshold?enqueue=true", "admin", json={"pretrained": 1}).status_code == 400
    assert server.ask("POST", "/train/threshold?enqueue=true", "admin", json={"pretrained": False}).status_code == 200


@pytest.mark.parametrize("entry", ["{}", '{"name": 1}', '{"name": "x", "idx": "y"}', '{"color": "red"}'])
def test_of_labels_an_inference_takes_names_and_values_only(server: Server, image: Ct, entry: str):
    """Upstream hands the rest to the program that makes a DICOM SEG (monailabel 0.8.5, convert.py:86)."""
    params = f'{{"label_info": [{entry}]}}'
    answer = server.ask("POST", f"/infer/threshold?image={image.uid}&output=dicom_seg", "anna", data={"params": params})
    assert answer.status_code == 400 and "label_info" in answer.text, answer.text
