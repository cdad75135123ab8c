// Unsaved work: kept in this browser while a CT is labelled, and offered when it is opened again.

import * as drafts from "./drafts.js";
import { filled, notify, say, state, tell, time, unsaved } from "./state.js";

const KEEP_AFTER = 1000; // milliseconds without a change

let waiting = 0;
let kept = ""; // the image whose draft this page has written or taken back: another page's is not dropped
let writing = Promise.resolve(); // one after the other: what is kept must not come after what is dropped

function queued(work) {
  writing = writing.then(work).then(
    () => true,
    error => {
      say(`Unsaved work cannot be kept in this browser: ${error.message}`, "error");
      return false;
    },
  );
  return writing;
}

/** Keep it soon. */
export function later() {
  clearTimeout(waiting);
  waiting = setTimeout(keep, KEEP_AFTER);
}

/** Keep unsaved work as it is now; what is saved needs no draft. Whether that could be done. */
export function keep() {
  clearTimeout(waiting);
  const { map, user, image, names, version, hidden } = state;
  if (!map?.alive || hidden) return Promise.resolve(true);
  if (unsaved()) {
    const draft = { slices: filled(), names, of: map.volume.imageIds, version };
    kept = image;
    return queued(() => drafts.keep(user, image, draft));
  }
  return kept === image ? queued(() => drafts.drop(user, image)) : Promise.resolve(true);
}

/** Unsaved work of the CT is left: it is kept, and that is said. */
export async function keepLeft() {
  if (!unsaved()) return;
  if (await keep()) notify("Not saved", "The label that you left is kept in this browser. Open the CT again to go on.");
  else notify("Not saved", "The label that you left is lost: this browser cannot keep it.", "error");
}

/** Offer unsaved work that this browser has of the CT; nothing is painted until that is answered. */
export async function offer() {
  const { map, user, image, names } = state;
  const draft = await drafts.of(user, image).catch(() => undefined);
  if (!draft || state.map !== map) return;
  // Slices came or went since, or the list of labels is another: it would lie elsewhere, or mean something else.
  if (String([draft.names, draft.of]) !== String([names, map.volume.imageIds])) {
    say(`Unsaved work of ${time(draft.at)} cannot be taken back: the CT or the list of labels has changed since.`, "error");
    return;
  }
  Object.assign(state, { draft, hidden: "offer" });
  tell();
}

/** Take the offer, or let go of it. */
export function answerOffer(take) {
  const { draft, map, user, image } = state;
  Object.assign(state, { draft: null, hidden: "" });
  if (take) {
    kept = image;
    const wanted = map.slices.map((slice, place) => draft.slices.get(place) ?? new Uint8Array(slice.length));
    map.write(new Map([...wanted.entries()].filter(([at, slice]) => !slice.every((each, i) => each === map.slices[at][i]))));
    // It followed the label of then: if another is stored by now, saving asks.
    state.version = draft.version;
    say(`Unsaved work of ${time(draft.at)} is back. It is not saved yet.`);
  } else {
    queued(() => drafts.drop(user, image));
    tell();
  }
  state.dispatchEvent(new Event("opened"));
}

/** Let go of what nobody came back for. */
export const clean = () => drafts.clean().catch(() => {}); // a browser may have no such store
