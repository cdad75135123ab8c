"""What the viewer asks of an image: that there is no label is an answer, and what there is has the file's own names."""

import pytest

from tests.support import offers, segs
from tests.support.ct import Ct, ct, read, written
from tests.support.dicomweb import Pacs
from tests.support.labels import ok, painted
from tests.support.offers import next_image
from tests.support.segs import Painted
from tests.support.waiting import eventually
from tests.support.web import NAMES, Server

LISTED = [{"name": name, "idx": number} for number, name in enumerate(NAMES, start=1)]


def told(server: Server, image: Ct) -> dict[str, object]:
    answer = server.ask("GET", f"/viewer/label?image={image.uid}", "anna")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_without_a_label_there_is_no_version_and_no_problem(server: Server, image: Ct):
    found = told(server, image)
    assert found.pop("content")
    assert found == {"version": None, "info": {}, "problem": ""}


def test_the_content_of_an_image_is_another_when_a_slice_goes(server: Server, image: Ct, pacs: Pacs):
    before = told(server, image)["content"]
    assert before == told(server, image)["content"]
    pacs.series[image.uid].popitem()
    assert told(server, image)["content"] != before


def test_while_slices_arrive_nothing_is_told(server: Server, image: Ct, pacs: Pacs):
    pacs.arriving.add(image.uid)
    assert told(server, image) == {"arriving": True}


def test_a_labels_version_is_the_one_that_a_save_may_follow(server: Server, image: Ct):
    saved = server.submit(image.uid, painted(0), "berta")
    ok(saved)
    found = told(server, image)
    assert found["version"] == saved.headers["etag"] and found["info"]["user"] == "berta"


def test_values_have_the_names_of_the_list_also_where_nobody_has_opened_the_label_here(
    server: Server, image: Ct, pacs: Pacs
):
    pacs.take(written(segs.make(ct(), Painted("nodule2", painted() == 2))))
    assert told(server, image)["info"]["label_info"] == LISTED


def following(server: Server, image: str, user: str = "anna", strategy: str = "first") -> object:
    return server.ask("GET", f"/viewer/following?strategy={strategy}&image={image}", user).json()


def test_what_follows_an_image_is_what_comes_next(server: Server, pacs: Pacs):
    first, second, _ = offers.unlabelled(pacs)
    assert next_image(server) == first
    eventually(lambda: following(server, first), 5, "the next one is chosen")
    study = str(read(next(iter(pacs.series[second].values()))).StudyInstanceUID)
    assert following(server, first) == {"image": second, "study": study}
    ok(server.submit(first, painted(0), "anna"))
    assert next_image(server) == second


def test_to_others_and_of_other_images_nothing_follows(server: Server, pacs: Pacs):
    first, second, _ = offers.unlabelled(pacs)
    next_image(server)
    eventually(lambda: following(server, first), 5, "the next one is chosen")
    assert following(server, first, "berta") is following(server, second) is None
    assert following(server, first, strategy="random") is following(server, first, strategy="no such") is None


def test_no_training_runs(server: Server):
    assert server.ask("GET", "/viewer/training", "anna").json() == []


@pytest.mark.parametrize("path", ["label?image=1.2.3.4", "following?strategy=first&image=1.2.3.4", "training"])
def test_a_stranger_is_told_nothing(server: Server, path: str):
    assert server.ask("GET", f"/viewer/{path}").status_code == 401
