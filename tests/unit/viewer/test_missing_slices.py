"""Slices that do not come are asked for again, then said; with stand-ins for Cornerstone and for time."""

from typing import Any

from tests.support import node

SETTING = """
Math.random = () => 0;
const [fails] = values;  // how often each slice fails
const asked = [], heard = [], waiting = [];
globalThis.setTimeout = (work, pause) => waiting.push([pause, work]);
let drawn = 0;
const volume = {
  imageIds: ['a', 'b', 'c'],
  getLoaderImageOptions: id => ({ of: id }),
  invalidateVolume: () => (drawn += 1),
};
const say = imageId => heard.forEach(each => each({ detail: { imageId } }));
globalThis.cornerstone = {
  Enums: { Events: { IMAGE_LOAD_FAILED: 'failed' } },
  eventTarget: { addEventListener: (_, each) => heard.push(each) },
  cache: { getVolumes: () => [{}, volume] },
  imageLoader: {
    loadAndCacheImage: async (id, options) => {
      asked.push([id, options.of]);
      if ((fails[id] -= 1) <= 0) return {};
      say(id);
      throw new Error('503');
    },
  },
};
const { state } = await use('state.js');
const { missing, loadMissing, watch } = await use('missing_slices.js');
state.map = { alive: true, volume };
watch();
const pauses = [];
const pass = async () => {
  while (waiting.length) {
    const [pause, work] = waiting.shift();
    pauses.push(pause);
    await work();
  }
};
const first = () => Object.keys(fails).forEach(id => fails[id] && (say(id), say(id)));  // two had asked for it
first();
await pass();
"""
SHOWN = "return { asked: asked.map(([id]) => id), pauses, missing: missing(), drawn };"


def outcome(code: str = "", **fails: int) -> Any:
    return node.run(SETTING + code + SHOWN, fails)


def test_a_slice_that_comes_the_second_time_is_drawn():
    assert outcome(b=1) == {"asked": ["b"], "pauses": [500], "missing": [], "drawn": 1}


def test_it_is_asked_for_three_times_with_longer_pauses():
    assert outcome(a=3, b=0) == {"asked": ["a"] * 3, "pauses": [500, 2000, 5000], "missing": [], "drawn": 1}


def test_what_does_not_come_then_is_said_and_can_be_asked_for():
    assert outcome(a=9, c=1)["missing"] == ["a"]
    told = outcome("fails.a = 1; loadMissing(); await pass();", a=9)
    assert told["missing"] == [] and told["drawn"] == 1 and len(told["asked"]) == 4


def test_nothing_is_asked_for_of_a_ct_that_was_left():
    told = outcome("state.map.alive = false; volume.imageIds = ['x']; say('a'); await pass();")
    assert told["asked"] == [] and told["missing"] == []
