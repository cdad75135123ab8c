// Models at work on the CT: what they are asked, and how their answers go into the label map.

import * as points from "./points.js";
import * as server from "./server.js";
import { ready, say, state, still, tell } from "./state.js";
import { fromNifti } from "./volumes.js";

const ASK_QUEUE = 1000; // milliseconds

export const running = { model: "", text: "", abort: null };
// Label map -> segment -> places -> where the last answer painted: the next one replaces that, and nothing else.
const answered = new WeakMap();

export const takesPoints = model => ["deepgrow", "deepedit", "annotation"].includes(model.type);
/** Quick enough to be run at each click: one slice. */
export const isQuick = model => takesPoints(model) && model.dimension === 2;

/** Answers in the label map that is there now. */
function answers() {
  if (!answered.has(state.map)) answered.set(state.map, new Map());
  return answered.get(state.map);
}

/** What was painted is a person's own from now on, and no answer replaces it. */
export const forget = segment => answers().delete(segment);

state.addEventListener("replaced", () => answered.delete(state.map));

/** What the model is asked and about which slice, if it is one of slices; or why it cannot be asked. */
function asked(model, segment) {
  if (!takesPoints(model)) return { parameters: {} };
  const found = points.of(segment, point => state.map.toVoxel(point));
  const slice = model.dimension === 2 ? found.last?.[2] : undefined;
  const here = point => slice === undefined || point[2] === slice;
  const foreground = found.foreground.filter(here);
  const background = found.background.filter(here);
  if (!foreground.length) return { problem: "Click a point in the nodule first: press F, then click in its middle." };
  const name = state.names[segment - 1];
  const byName = model.type === "deepedit" ? { [name]: foreground } : {};
  return { slice, parameters: { foreground, background, label: name, ...byName } };
}

/** Run a model, and put its answer into the label map; one of slices answers for the slice of the last point. */
export async function run(model) {
  const { map, image } = state;
  if (!ready()) return;
  running.abort?.abort(); // the next click is about all points
  const segment = map.activeSegment;
  const { parameters, slice, problem } = asked(model, segment);
  if (problem) return void say(problem, "error");
  const abort = new AbortController();
  Object.assign(running, { model: model.name, text: `${model.name} is asked …`, abort });
  tell();
  const asking = setInterval(() => follow(abort), ASK_QUEUE);
  try {
    const voxels = await fromNifti(await server.infer(model.name, image, parameters, abort.signal), map.volume);
    if (abort.signal.aborted || !still(map)) return;
    const painted = takesPoints(model) ? put(segment, voxels, slice) : putAll(model, voxels);
    if (model.trained === false) say(`${model.name} is not trained: its answer means nothing. Undo takes it away.`, "error");
    else say(painted ? `${model.name}: ${painted}` : `${model.name} found nothing here.`, painted ? "info" : "error");
  } catch (error) {
    if (error.name !== "AbortError") say(`${model.name} gave no answer: ${error.message}`, "error");
  } finally {
    clearInterval(asking);
    if (running.abort === abort) Object.assign(running, { model: "", text: "", abort: null });
    tell();
  }
}

/** Say how far the queue is, while an answer is waited for. */
async function follow(abort) {
  const { mine } = await server.queue().catch(() => ({}));
  if (abort.signal.aborted || running.abort !== abort) return;
  running.text = mine ? `${running.model} waits: place ${mine} of the queue` : `${running.model} is at work …`;
  tell();
}

/** Do without the answer. */
export function cancel() {
  running.abort?.abort();
  say("Cancelled.");
}

/** Put an answer into a segment; only into a slice, if one is given. What a person has painted stays. */
function put(segment, voxels, slice) {
  const places = slice === undefined ? [...state.map.slices.keys()] : [slice];
  write([segment], places, answer => answer, voxels);
  return state.measures.of(segment) && state.names[segment - 1];
}

/** Write answers for segments into slices, as one step that can be undone; `of` finds a segment's in a slice. */
function write(segments, places, of, voxels) {
  const slices = state.map.slices;
  const size = slices[0].length;
  const last = new Map(segments.map(segment => [segment, answers().get(segment) ?? new Map()]));
  const now = new Map(segments.map(segment => [segment, new Map(last.get(segment))]));
  const written = new Map();
  for (const place of places) {
    const all = voxels.subarray(place * size, (place + 1) * size);
    for (const segment of segments) {
      const answer = of(all, segment);
      if (!last.get(segment).has(place) && !answer.some(Boolean)) continue;
      const merged = merge(written.get(place) ?? slices[place], answer, last.get(segment).get(place), segment);
      written.set(place, merged.slice);
      now.get(segment).set(place, merged.painted);
    }
  }
  const remember = painted => painted.forEach((each, segment) => answers().set(segment, each));
  remember(now);
  state.map.write(written, undone => remember(undone ? last : now));
}

/** A slice with an answer in it, and where that painted. */
function merge(before, answer, last, segment) {
  const slice = before.slice();
  const painted = new Uint8Array(slice.length);
  for (let index = 0; index < slice.length; index += 1) {
    if (last?.[index] && slice[index] === segment) slice[index] = 0;
    if (answer[index] && slice[index] === 0) slice[index] = painted[index] = segment;
  }
  return { slice, painted };
}

/** Put the answer of a model that needs no points into the segments of the same names. */
function putAll(model, voxels) {
  const labels = Array.isArray(model.labels)
    ? Object.fromEntries(model.labels.map((name, place) => [name, place + 1]))
    : (model.labels ?? {});
  const values = Object.fromEntries(Object.entries(labels).map(([name, value]) => [state.names.indexOf(name) + 1, value]));
  const segments = Object.keys(values).map(Number).filter(Boolean);
  write(segments, [...state.map.slices.keys()], (all, segment) => all.map(value => value === values[segment]), voxels);
  return segments.filter(segment => state.measures.of(segment)).map(segment => state.names[segment - 1]).join(", ");
}
