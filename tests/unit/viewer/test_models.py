"""How a model's answers go into the label map: what a person has painted stays, what the last answer painted goes.

The label map, the points and the label server are stand-ins: lists of slices of four pixels.
"""

from typing import Any

import pytest

from tests.support import node

SETTING = """
globalThis.localStorage = { getItem: () => null, setItem: () => {} };
const [steps, start, model] = values;
const annotations = [];
globalThis.cornerstoneTools = { annotation: { state: { getAllAnnotations: () => annotations } } };
const points = await use('points.js');
const { BACKGROUND, FOREGROUND } = points;
const { state } = await use('state.js');
const models = await use('models.js');
const { gzipSync } = await import('node:zlib');
const dimensions = [4, 1, start.length];
const nifti = voxels => {
  const file = Buffer.alloc(352 + voxels.length);
  dimensions.forEach((length, axis) => file.writeInt16LE(length, 42 + 2 * axis));
  [280, 296, 312].forEach((at, row) => file.writeFloatLE(row < 2 ? -1 : 1, at + 4 * row));
  file.writeFloatLE(352, 108);
  file.set(voxels, 352);
  return gzipSync(file);
};
const asked = [];
let answer = [];
globalThis.fetch = async (url, { body }) => {
  asked.push(JSON.parse(body.get('params')));
  return new Response(nifti(answer.flat()));
};
const slices = start.map(each => Uint8Array.from(each));
let undo = () => {};
const map = {
  alive: true, activeSegment: 1, slices, toVoxel: point => point,
  volume: { dimensions, spacing: [1, 1, 1], origin: [0, 0, 0], direction: [1, 0, 0, 0, 1, 0, 0, 0, 1] },
  write(written, tell) {
    const before = new Map([...written.keys()].map(place => [place, slices[place].slice()]));
    for (const [place, slice] of written) slices[place].set(slice);
    undo = () => { for (const [place, slice] of before) slices[place].set(slice); tell(true); };
  },
};
const measures = { of: segment => (slices.some(each => each.includes(segment)) ? {} : undefined) };
Object.assign(state, { map, image: '1.2', names: ['one', 'two'], measures });
for (const step of steps) {
  if (step.paint) slices[step.paint[0]].set(step.paint[1]);
  if (step.undo) undo();
  if (step.forget) models.forget(step.forget);
  if (step.segment) map.activeSegment = step.segment;
  if (!step.answer) continue;
  const data = { handles: { points: [step.point] } };
  const metadata = { toolName: step.beside ? BACKGROUND : FOREGROUND };
  if (step.point) points.assign({ data }, map.activeSegment);
  // Cornerstone lists them by its tools, not as they were placed.
  if (step.point) annotations[step.beside ? 'push' : 'unshift']({ metadata, data });
  answer = step.answer;
  await models.run(model);
}
return { slices: slices.map(each => [...each]), asked, said: state.message.text };
"""
CLICKS_2D = {"name": "deepgrow_2d", "type": "deepgrow", "dimension": 2}
CLICKS_3D = {"name": "deepgrow_3d", "type": "deepgrow", "dimension": 3}
WHOLE = {"name": "segmentation", "type": "segmentation", "dimension": 3, "labels": {"two": 1, "one": 2, "other": 3}}
EMPTY = [[0, 0, 0, 0], [0, 0, 0, 0]]


def label(steps: list[dict[str, Any]], model: dict[str, Any] = CLICKS_3D, start: Any = EMPTY) -> dict[str, Any]:
    return node.run(SETTING, steps, start, model)


def answered(*slices: list[int], point: tuple[int, int, int] = (0, 0, 0)) -> dict[str, Any]:
    return {"answer": slices, "point": point}


def test_an_answer_goes_into_the_active_segment():
    steps = [{"segment": 2}, answered([0, 1, 1, 0], [0, 0, 1, 0])]
    assert label(steps)["slices"] == [[0, 2, 2, 0], [0, 0, 2, 0]]


def test_refining_replaces_what_the_last_answer_painted():
    steps = [answered([1, 1, 0, 0], [1, 0, 0, 0]), answered([0, 1, 1, 0], [0, 0, 0, 0])]
    assert label(steps)["slices"] == [[0, 1, 1, 0], [0, 0, 0, 0]]


def test_what_an_answer_painted_stays_once_its_points_are_cleared():
    steps = [answered([1, 1, 0, 0], EMPTY[0]), {"forget": 1}, answered(EMPTY[0], [0, 0, 1, 0])]
    assert label(steps)["slices"] == [[1, 1, 0, 0], [0, 0, 1, 0]]


def test_a_model_of_slices_answers_for_the_last_click_whichever_kind_it_is():
    beside = answered([1, 1, 0, 0], EMPTY[0], point=(3, 0, 0)) | {"beside": True}
    steps = [answered([1, 1, 1, 0], EMPTY[0]), beside, answered(EMPTY[0], [0, 1, 0, 0], point=(1, 0, 1))]
    told = label(steps, CLICKS_2D)
    assert told["slices"] == [[1, 1, 0, 0], [0, 1, 0, 0]]
    assert (told["asked"][2]["foreground"], told["asked"][2]["background"]) == ([[1, 0, 1]], [])


def test_what_a_person_has_painted_stays():
    steps = [answered([1, 1, 0, 0], EMPTY[0]), {"paint": [0, [1, 1, 0, 1]]}, answered([0, 1, 0, 0], EMPTY[0])]
    assert label(steps)["slices"][0] == [0, 1, 0, 1]


def test_what_was_painted_before_the_first_answer_stays():
    steps = [answered([1, 1, 0, 0], EMPTY[0]), answered([0, 0, 1, 0], EMPTY[0])]
    assert label(steps, start=[[1, 0, 0, 0], EMPTY[0]])["slices"][0] == [1, 0, 1, 0]


def test_other_segments_stay():
    steps = [answered([1, 1, 1, 1], EMPTY[0]), answered([1, 1, 0, 0], EMPTY[0])]
    assert label(steps, start=[[0, 2, 0, 2], EMPTY[0]])["slices"][0] == [1, 2, 0, 2]


def test_what_became_another_segment_since_the_last_answer_stays():
    steps = [answered([1, 1, 0, 0], EMPTY[0]), {"paint": [0, [2, 1, 0, 0]]}, answered([0, 0, 1, 0], EMPTY[0])]
    assert label(steps)["slices"][0] == [2, 0, 1, 0]


def test_answers_for_two_segments_are_kept_apart():
    steps = [answered([1, 1, 0, 0], EMPTY[0]), {"segment": 2}, answered([0, 0, 1, 0], EMPTY[0])]
    steps += [{"segment": 1}, answered([0, 1, 0, 0], EMPTY[0])]
    assert label(steps)["slices"][0] == [0, 1, 2, 0]


def test_a_model_of_slices_answers_for_the_slice_of_the_click():
    steps = [answered([1, 1, 0, 0], [1, 1, 0, 0], point=(0, 0, 1))]
    done = label(steps, CLICKS_2D)
    assert done["slices"] == [[0, 0, 0, 0], [1, 1, 0, 0]] and done["asked"][0]["foreground"] == [[0, 0, 1]]


def test_a_click_in_another_slice_leaves_the_answer_of_the_first():
    steps = [answered([1, 1, 0, 0], EMPTY[0]), answered(EMPTY[0], [0, 1, 0, 0], point=(1, 0, 1))]
    done = label(steps, CLICKS_2D)
    assert done["slices"] == [[1, 1, 0, 0], [0, 1, 0, 0]] and done["asked"][1]["foreground"] == [[1, 0, 1]]


def test_after_undo_the_next_answer_knows_what_the_one_before_painted():
    steps = [answered([1, 0, 0, 0], EMPTY[0]), answered([0, 1, 0, 0], EMPTY[0]), {"undo": True}]
    assert label(steps)["slices"][0] == [1, 0, 0, 0]
    assert label([*steps, answered([0, 0, 1, 0], EMPTY[0])])["slices"][0] == [0, 0, 1, 0]


def test_a_model_without_points_fills_the_segments_of_the_same_names():
    done = label([{"answer": [[1, 2, 3, 0], [0, 0, 0, 1]]}], WHOLE)
    assert done["slices"] == [[2, 1, 0, 0], [0, 0, 0, 2]] and "foreground" not in done["asked"][0]


def test_a_model_that_takes_points_is_not_asked_without_one():
    done = label([{"answer": [EMPTY[0], EMPTY[0]]}])
    assert done["asked"] == [] and done["slices"] == EMPTY


@pytest.mark.parametrize(
    ("model", "quick"),
    [(CLICKS_2D, True), (CLICKS_3D, False), (WHOLE, False)],
    ids=lambda each: str(each["name"]) if isinstance(each, dict) else str(each),
)
def test_a_model_of_slices_that_takes_points_is_quick(model, quick):
    code = "globalThis.localStorage = { getItem: () => null };return (await use('models.js')).isQuick(values[0]);"
    assert node.run(code, model) is quick


def said(answer: Any, **more: Any) -> str:
    """What the panel says of an answer."""
    text: str = label([{"point": [1, 0, 0], "answer": answer}], model=CLICKS_2D | more)["said"]
    return text


def test_what_a_model_found_is_said_or_that_it_found_nothing():
    assert said([[0, 1, 0, 0], EMPTY[0]]) == "deepgrow_2d: one"
    assert said(EMPTY) == "deepgrow_2d found nothing here."


def test_an_untrained_models_answer_is_no_success():
    text = "deepgrow_2d is not trained: its answer means nothing. Undo takes it away."
    assert said([[0, 1, 0, 0], EMPTY[0]], trained=False) == text


def test_a_server_without_a_model_says_so():
    code = """
    globalThis.localStorage = { getItem: () => null };
    const { state } = await use('state.js');
    const { runChosen } = await use('chosen_model.js');
    runChosen();
    return state.message.text;
    """
    assert node.run(code) == "The server has no model."
