"""The next CT is got ahead and given to OHIF once, if it is still the same; with stand-ins for browser and server."""

from typing import Any

from tests.support import node

SETTING = """
const [{ contents = ['v1', 'v1'], fails = '', big = 0, chosen = [true] }] = values;
const asked = [], opened = [], heard = [];
globalThis.setTimeout = work => queueMicrotask(work);
globalThis.XMLHttpRequest = class {
  open(method, url) { opened.push(url); }
  addEventListener() {}
};
URL.createObjectURL = blob => `blob:${blob.size}:${blob.type}`;
globalThis.window = globalThis;
globalThis.cornerstone = {
  Enums: { Events: { IMAGE_VOLUME_LOADING_COMPLETED: 'whole' } },
  eventTarget: { addEventListener: (_, each) => heard.push(each) },
};
const headers = ['a', 'b', 'c'].map(uid => ({ '00080018': { Value: [uid] } }));
const json = said => ({ ok: true, json: async () => said });
const file = (type, bytes) => {
  return { ok: true, headers: new Headers({ 'Content-Type': type }), arrayBuffer: async () => bytes };
};
const listed = new TextEncoder().encode(JSON.stringify(headers));
globalThis.fetch = async (url, { signal } = {}) => {
  if (signal?.aborted) throw new Error('aborted');
  asked.push(url);
  if (fails && url.includes(fails)) return { ok: false, status: 503, headers: new Headers(), json: async () => ({}) };
  if (url.startsWith('/viewer/following')) return json((chosen.shift() ?? null) && { image: 'next', study: 'S' });
  if (url.startsWith('/viewer/label')) return json({ content: contents.shift() });
  if (url.endsWith('/metadata')) return file('application/dicom+json', listed);
  return file('multipart/related', big ? { byteLength: big } : new ArrayBuffer(7));
};
const { state } = await use('state.js');
const ahead = await use('ahead.js');
ahead.watch(() => 'first');
const root = '/proxy/dicom/wado/studies/S/series/next';
const frame = uid => `${root}/instances/${uid}/frames/1`;
const ask = url => { new XMLHttpRequest().open('GET', url); return opened.at(-1); };
const turns = async () => { for (let turn = 0; turn < 100; turn += 1) await null; };
const whole = async image => { state.image = image; heard.forEach(each => each()); await turns(); };
await whole('first');
"""
GIVEN = "await ahead.release('next'); return [...'abc'].map(uid => ask(frame(uid)) !== frame(uid));"


def outcome(code: str, **values: Any) -> Any:
    return node.run(SETTING + code, values)


def test_what_follows_is_got_ahead_and_given_once():
    code = "await ahead.release('next'); return [ask(frame('a')), ask(frame('a')), ask(`${root}/metadata`)];"
    first, again, headers = outcome(code)
    assert first == "blob:7:multipart/related" and again.endswith("/a/frames/1")
    assert headers.endswith(":application/dicom+json")


def test_nothing_is_given_before_it_is_opened():
    assert outcome("return ask(frame('a')) === frame('a');")


def test_what_has_changed_meanwhile_is_asked_for_anew():
    assert outcome(GIVEN, contents=["v1", "v2"]) == [False] * 3
    assert outcome(GIVEN, contents=["v1", None]) == [False] * 3


def test_another_ct_gets_nothing_of_it():
    code = "await ahead.release('other'); await ahead.release('next'); return ask(frame('a')) === frame('a');"
    assert outcome(code, contents=["v1", "v1", "v1"])


def test_it_is_let_go_of_when_it_was_left():
    code = "await ahead.release('next'); ahead.left('first'); const had = ask(frame('a')); ahead.left('next');"
    had, later = outcome(code + "return [had, ask(frame('b'))];")
    assert had.startswith("blob:") and not later.startswith("blob:")


def test_slices_that_did_not_come_are_asked_for_by_ohif():
    assert outcome(GIVEN, fails="/b/") == [True, False, True]
    assert outcome(GIVEN, fails="/metadata") == [False] * 3


def test_no_more_is_kept_than_half_a_gigabyte():
    code = "return asked.filter(url => url.includes('/frames/')).length;"
    assert outcome(code) == 3
    assert outcome(code, big=2**29 + 1) == 2, "both of those that were asked for at once"


def test_a_slice_that_comes_late_in_the_ct_in_view_has_nothing_got_twice():
    assert outcome("await whole('first'); return asked.filter(url => url === frame('a')).length;") == 1


def test_what_the_server_has_not_chosen_yet_is_asked_for_again():
    assert outcome(GIVEN, chosen=[False, False, True]) == [True] * 3
    asked = outcome("return asked;", chosen=[])
    assert len(asked) == 3 and all("/viewer/following" in url for url in asked)


def test_without_a_content_that_tells_a_change_nothing_is_got():
    assert len(outcome("return asked;", contents=[None])) == 2
