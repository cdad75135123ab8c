// The CT that will be next, got while the one in view is labelled: OHIF then waits for no line when it asks for it.
//
// It is kept as the server sent it, in this page's memory alone, and given to OHIF once. What has become another CT
// meanwhile is let go of.

import * as server from "./server.js";
import { state } from "./state.js";

const MOST = 512 * 1024 * 1024; // bytes that are kept
const AT_ONCE = 2; // requests: the CT in view has its own
const FRAME = "multipart/related; type=application/octet-stream; transfer-syntax=*"; // what OHIF asks for

const PAUSES = [0, 5_000, 20_000]; // milliseconds before each time that the server is asked what is next

/** Nothing yet of what comes after an image; `given` tells whether OHIF may have it. */
const nothing = after => ({
  after,
  image: "",
  content: null,
  given: false,
  answers: new Map(),
  stop: new AbortController(),
});
let kept = nothing("");

function forget(after = "") {
  kept.stop.abort();
  kept = nothing(after);
}

/** OHIF's requests, answered from what is kept. */
class Ahead extends XMLHttpRequest {
  open(method, url, ...more) {
    const answer = kept.given && method.toUpperCase() === "GET" ? kept.answers.get(url) : undefined;
    if (!answer) return super.open(method, url, ...more);
    kept.answers.delete(url);
    const copy = URL.createObjectURL(new Blob([answer.bytes], { type: answer.type }));
    this.addEventListener("loadend", () => URL.revokeObjectURL(copy));
    return super.open(method, copy, ...more);
  }
}

async function get(url, accept, { answers, stop }) {
  const answer = await fetch(url, { headers: { Accept: accept }, priority: "low", signal: stop.signal });
  if (!answer.ok) throw new Error(`${answer.status}`);
  const bytes = await answer.arrayBuffer();
  answers.set(url, { type: answer.headers.get("Content-Type"), bytes });
  return bytes;
}

/** Get what OHIF asks of a series: its headers, and its slices, some at once, until enough is kept. */
async function series(root, ahead) {
  const headers = JSON.parse(new TextDecoder().decode(await get(`${root}/metadata`, "application/dicom+json", ahead)));
  let room = MOST;
  const left = headers.values();
  const some = async () => {
    for (const { "00080018": { Value: [instance] } } of left) {
      if (room < 0) return;
      room -= (await get(`${root}/instances/${instance}/frames/1`, FRAME, ahead)).byteLength;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
}

/** What comes after the CT in view, which the server may still have to choose; null if it does not say. */
async function next(strategy, ahead) {
  for (const pause of PAUSES) {
    await new Promise(done => setTimeout(done, pause));
    if (kept !== ahead) return null;
    const found = await server.following(strategy, ahead.after);
    if (found) return found;
  }
  return null;
}

/** The CT in view is whole: get the next one. A failure means that OHIF has to wait for it. */
async function prepare(strategy) {
  if (!state.image || kept.after === state.image) return;
  forget(state.image);
  const ahead = kept;
  try {
    const found = await next(strategy, ahead);
    const { content } = found ? await server.about(found.image) : {};
    if (!content || kept !== ahead) return;
    Object.assign(ahead, { image: found.image, content });
    await series(`/proxy/dicom/wado/studies/${found.study}/series/${found.image}`, ahead);
  } catch {
    ahead.stop.abort();
  }
}

/** A CT is about to be opened: what is kept is given to OHIF if it is this CT as the server has it now. */
export async function release(image) {
  kept.stop.abort();
  const now = kept.image === image ? await server.about(image).catch(() => ({})) : {};
  if (now.content && now.content === kept.content) kept.given = true;
  else forget();
}

/** A CT has been left. */
export function left(image) {
  if (image && image === kept.image) forget();
}

export function watch(strategy) {
  window.XMLHttpRequest = Ahead;
  const whole = cornerstone.Enums.Events.IMAGE_VOLUME_LOADING_COMPLETED;
  cornerstone.eventTarget.addEventListener(whole, () => prepare(strategy()));
}
