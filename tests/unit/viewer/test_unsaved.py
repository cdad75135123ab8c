"""What is said of work that this browser cannot keep, or cannot give back; with a stand-in for its store."""

from typing import Any

from tests.support import node

SETTING = """
const [draft] = values;
const soon = request => (setTimeout(() => request.onsuccess()), request);
const store = { get: () => soon({ result: { ...draft, slices: [], at: Date.now() } }) };
const opened = { transaction: () => ({ objectStore: () => store }), close() {} };
if (draft) globalThis.indexedDB = { open: () => soon({ result: opened }) };
const { state } = await use('state.js');
const { keep, offer } = await use('unsaved.js');
const map = { alive: true, slices: [], volume: { imageIds: ['a', 'b'] } };
Object.assign(state, { map, user: 'anna', image: '1.2', names: ['one'], measures: { slices: new Map() } });
state.changed = new Set([0]);
"""


def outcome(code: str, draft: Any = None) -> Any:
    return node.run(f"{SETTING}{code}return {{ said: state.message.text, hidden: state.hidden }};", draft)


def test_a_browser_that_keeps_nothing_says_so():
    assert outcome("await keep();")["said"].startswith("Unsaved work cannot be kept in this browser: ")


def test_work_on_this_ct_is_offered_before_anything_is_painted():
    assert outcome("await offer();", {"names": ["one"], "of": ["a", "b"]}) == {"said": "", "hidden": "offer"}


def test_work_on_other_slices_or_with_other_labels_is_not_given_back():
    for draft in ({"names": ["one"], "of": ["a", "c"]}, {"names": ["two"], "of": ["a", "b"]}):
        told = outcome("await offer();", draft)
        assert told["said"].startswith("Unsaved work of ") and told["hidden"] == ""
        assert told["said"].endswith(" cannot be taken back: the CT or the list of labels has changed since.")
