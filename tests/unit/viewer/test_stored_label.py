"""Saving while painting goes on, while another CT is opened, and after somebody else has saved; with stand-ins."""

from typing import Any

from tests.support import node

SETTING = """
const told = [];
globalThis.cornerstone = { utilities: { HistoryMemo: { DefaultHistoryMemo: { size: 50 } } } };
globalThis.cornerstoneTools = { annotation: { state: { getAllAnnotations: () => [] } } };
globalThis.localStorage = { getItem: () => null, setItem: () => {} };
const { compare, ohif, state, unsaved } = await use('state.js');
const { save, settle } = await use('stored_label.js');
const { Measures } = await use('measures.js');
const server = await use('server.js');
ohif.services = { uiNotificationService: { show: ({ message }) => told.push(message) } };
const dimensions = [4, 1, 2];
const made = () => {
  const slices = [new Uint8Array(4), new Uint8Array(4)];
  const direction = [1, 0, 0, 0, 1, 0, 0, 0, 1];
  const volume = { dimensions, spacing: [1, 1, 1], origin: [0, 0, 0], direction, imageIds: [] };
  return { alive: true, slices, volume, read: () => Uint8Array.from([...slices[0], ...slices[1]]) };
};
const opened = image => {
  const map = made();
  Object.assign(state, { image, map, measures: new Measures(map.volume), version: null, conflict: null, hidden: '' });
  Object.assign(state, { names: ['one', 'two'], user: 'anna', stored: new Map(), changed: new Set() });
};
const paint = (place, at) => {
  state.map.slices[place][at] = 1;
  state.measures.update(place, state.map.slices[place]);
  compare([place]);
};
const asked = [];
let answers = [];
let user = 'anna';
globalThis.fetch = async (url, { method = 'GET', headers = {} } = {}) => {
  if (url === '/') return Response.json({ user });
  asked.push([method, url.split('=')[1], headers['If-Match'] ?? headers['If-None-Match']]);
  const { meanwhile, status = 200, said = {}, version } = answers.shift();
  meanwhile?.();
  return Response.json(said, { status, headers: version ? { ETag: version } : {} });
};
server.expect('anna');
opened('A');
paint(0, 1);
"""
SHOWN = (
    "return { asked, told, said: state.message.text, unsaved: unsaved(), version: state.version, image: state.image };"
)


def outcome(code: str) -> Any:
    return node.run(SETTING + code + SHOWN)


def test_what_is_painted_while_a_save_is_under_way_is_not_taken_for_saved():
    told = outcome("answers = [{ version: 'v1', meanwhile: () => paint(1, 2) }]; await save();")
    assert told["unsaved"] and told["version"] == "v1" and "Saved in the archive" in told["said"]


def test_a_save_says_which_content_of_the_ct_was_painted_on():
    told = outcome("state.content = 'c1'; answers = [{ version: 'v1' }]; await save();")
    assert told["asked"] == [["PUT", "A&painted_on", "*"]]


RESTORE = """
state.map.remove = () => (state.map.alive = false);
state.map.differing = () => new Map();
state.map.put = state.map.jumpTo = () => {};
globalThis.indexedDB = undefined;
const { restore } = await use('stored_label.js');
"""


def test_the_content_is_the_one_that_was_opened_whatever_is_stored_of_it():
    opened = "answers = [{ said: { version: null, problem: '', info: {}, content: 'c1' } }]; await restore();"
    told = outcome(RESTORE + opened + "answers = [{ version: 'v1' }]; paint(1, 1); await save();")
    assert told["asked"][-1] == ["PUT", "A&painted_on", "*"] and told["version"] == "v1"
    beside = opened.replace("problem: ''", "problem: 'x'")
    told = outcome(RESTORE + beside + "answers = [{ version: 'v1' }]; paint(1, 1); await save();")
    assert told["asked"][-1] == ["PUT", "A&painted_on", "*"]


def test_a_ct_that_is_still_arriving_cannot_be_painted():
    told = outcome(RESTORE + "answers = [{ said: { arriving: true } }]; await restore(); await save();")
    assert told["said"] == "Slices of this CT are still arriving: load the page again in a moment."
    assert len(told["asked"]) == 1


def test_a_label_of_somebody_else_that_cannot_be_shown_replaces_nothing_here():
    answers = "answers = [{ status: 409, said: { changed_by: 'berta' } }, { status: 503, said: { detail: 'away' } }];"
    told = outcome(answers + "await save(); await settle(false);")
    assert told["said"] == "Their label cannot be shown: away. Yours is still here." and told["unsaved"]
    arriving = "answers = [{ status: 409, said: { changed_by: 'berta' } }, { said: { arriving: true } }];"
    told = outcome(arriving + "await save(); await settle(false); told.push(state.conflict.changed_by);")
    assert told["said"] == "Their label cannot be shown: slices of this CT are still arriving. Yours is still here."
    assert told["unsaved"] and told["told"] == ["berta"]


def test_without_that_nothing_is_unsaved():
    assert not outcome("answers = [{ version: 'v1' }]; await save();")["unsaved"]


def test_a_save_that_ends_in_another_ct_says_nothing_of_that():
    left = "() => { opened('B'); paint(1, 1); }"
    told = outcome(f"answers = [{{ version: 'v1', meanwhile: {left} }}]; await save();")
    assert told["asked"] == [["PUT", "A", "*"]]
    assert (told["image"], told["version"], told["unsaved"]) == ("B", None, True)


def test_a_conflict_of_a_ct_that_was_left_is_none_of_the_next():
    code = "answers = [{ status: 409, said: { changed_by: 'berta' }, meanwhile: () => opened('B') }]; await save();"
    told = outcome(code + "told.push(String(state.conflict));")
    assert told["told"][-1] == "null" and told["told"][0].startswith("The label of the CT that you left: ")


def test_mine_in_its_place_follows_the_label_that_was_shown_and_no_later_one():
    code = "answers = [{ status: 409, said: { detail: 'x', changed_by: 'berta', version: 'v7' } }, { version: 'v8' }];"
    told = outcome(code + "await save(); await settle(true);")
    assert told["asked"] == [["PUT", "A", "*"], ["PUT", "A", "v7"]] and told["version"] == "v8"


def test_nothing_is_stored_in_the_name_of_who_has_logged_in_meanwhile():
    told = outcome("user = 'ben'; await save();")
    assert told["asked"] == [] and "ben has logged in to this browser" in told["said"] and told["unsaved"]


def test_nothing_is_saved_while_the_stored_label_is_not_there_yet():
    assert outcome("state.hidden = 'loading'; await save();")["asked"] == []
