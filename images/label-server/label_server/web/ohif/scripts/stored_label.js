// The label that is stored of the CT: shown, replaced by a save, and what if somebody else has replaced it meanwhile.

import * as server from "./server.js";
import { filled, listed, notify, ready, say, state, still, takeAsStored, time } from "./state.js";
import { keep, offer } from "./unsaved.js";
import { fromNifti, toNrrd, translated, valuesOf } from "./volumes.js";

/** The stored label and its voxels, numbered as the list of labels is; none without one. */
async function fetched(map, image, about) {
  if (about.problem)
    throw Object.assign(new Error(`another program's label cannot be read: ${about.problem}`), { foreign: true });
  if (!about.version) return new Uint8Array(map.read().length);
  const voxels = await fromNifti(await server.label(image), map.volume);
  const values = Object.fromEntries(about.info.label_info.map(({ name, idx }) => [idx, state.names.indexOf(name) + 1]));
  if (valuesOf(voxels).some(value => !values[value])) throw new Error("it holds a label that is not in the list");
  return translated(voxels, values);
}

/** Show what is stored; nothing may be painted before. */
export async function restore() {
  const { map, image } = state;
  state.hidden = "loading";
  try {
    const about = await server.about(image);
    if (!still(map)) return;
    if (about.arriving) return void refuse("Slices of this CT are still arriving: load the page again in a moment.");
    const { version, info, content } = about;
    state.content = content;
    const voxels = await fetched(map, image, about);
    if (!still(map)) return;
    map.put(map.differing(voxels));
    Object.assign(state, { version, about: info, hidden: "" });
    takeAsStored(filled());
    const [first] = state.measures.present();
    if (first) map.activeSegment = first;
    if (first) map.jumpTo(state.measures.of(first).center);
    say(version ? `Stored: ${listed(state.measures.present())}` : "Nothing is stored yet");
  } catch (error) {
    if (!still(map)) return;
    // What cannot be shown must not be replaced unseen; another program's stays where it is.
    const lost = error.unreachable || error.status >= 500;
    const why = lost ? "unreachable" : "unreadable";
    Object.assign(state, { version: null, about: null, hidden: error.foreign ? "" : why });
    const otherwise = lost ? "Try again." : "Correct it in 3D Slicer, or start anew.";
    const advice = error.foreign ? "What you save is stored beside it." : otherwise;
    say(`The stored label cannot be shown: ${error.message}. ${advice}`, "error");
  }
  if (!state.hidden) await offer();
  if (ready()) state.dispatchEvent(new Event("opened"));
}

/** The CT cannot be labelled as it was opened. */
function refuse(why) {
  state.map.remove();
  Object.assign(state, { map: null, measures: null, problem: why });
  say(why, "error");
}

/** Somebody wants to label it anew, though what is stored cannot be shown. */
export async function startAnew() {
  const { map } = state;
  const { version } = await server.about(state.image);
  if (!still(map)) return;
  Object.assign(state, { version, hidden: "" });
  say("Start anew: what you save replaces the label that cannot be shown. Nothing else is lost.");
  state.dispatchEvent(new Event("opened"));
}

let saving = false;

/** Store the label as it is now, though painting goes on meanwhile; whether it is stored. */
export async function save() {
  if (!ready() || saving) return false;
  const { map, image, content, version, names } = state;
  const present = state.measures.present();
  const sent = filled();
  const numbers = Object.fromEntries(present.map((segment, place) => [segment, place + 1]));
  const voxels = translated(map.read(), numbers);
  const segments = present.map((segment, place) => ({ name: names[segment - 1], idx: place + 1 }));
  saving = true;
  say("Saving …");
  try {
    const stored = await server.store(image, content, await toNrrd(map.volume, voxels), segments, version);
    if (!still(map)) return true;
    Object.assign(state, { version: stored, conflict: null });
    takeAsStored(sent);
    await keep();
    say(`Saved in the archive at ${time(Date.now())}: ${listed(present)}`, "good");
    return true;
  } catch (error) {
    failed(map, error);
    return false;
  } finally {
    saving = false;
  }
}

function failed(map, error) {
  if (!still(map)) return void notify("Not saved", `The label of the CT that you left: ${error.message}`, "error");
  if (error.said?.changed_by !== undefined) state.conflict = error.said;
  const login = error.status === 401 ? " Open your address in another tab, then save again here." : "";
  say(`Not saved: ${error.message}. Your label is still here.${login}`, "error");
}

/** After a conflict: show what somebody else has stored, or store what is here in the place of just that. */
export async function settle(mine) {
  const { map, image, conflict } = state;
  state.conflict = null;
  if (mine) {
    state.version = conflict.version;
    return save();
  }
  try {
    const about = await server.about(image);
    if (about.arriving) throw new Error("slices of this CT are still arriving");
    const voxels = await fetched(map, image, about);
    if (!still(map)) return false;
    map.write(map.differing(voxels));
    Object.assign(state, { version: about.version, about: about.info });
    takeAsStored(filled());
    state.dispatchEvent(new Event("replaced"));
    say("This is the label that somebody else stored. Undo brings yours back.");
  } catch (error) {
    if (still(map)) state.conflict = conflict; // the choice is still open
    say(`Their label cannot be shown: ${error.message}. Yours is still here.`, "error");
  }
  return false;
}
