// What is labelled just now: the CT that is in view, its label map, what is stored of it, and what is not saved yet.
//
// `state` is what the panel shows; it is told of each change.

import * as drafts from "./drafts.js";
import { LabelMap } from "./label_map.js";
import { Measures } from "./measures.js";
import * as points from "./points.js";
import * as server from "./server.js";
import { fromNifti, toNrrd, translated, valuesOf } from "./volumes.js";
import { firstName, setWindow } from "./windows.js";

const KEEP_AFTER = 1000; // milliseconds without a change until unsaved work is kept in this browser

export const ohif = { services: null, commandsManager: null };

export const state = Object.assign(new EventTarget(), {
  user: "",
  role: "",
  models: [],
  names: [],
  strategies: [],
  image: "", // series UID
  study: "",
  map: null,
  measures: null,
  problem: "", // why the CT in view cannot be labelled
  message: { kind: "info", text: "" },
  version: null, // of the stored label; null if there is none
  about: null, // what the stored label says of itself
  stored: new Map(), // its slices that are not empty
  changed: new Set(), // places of slices that differ from it
  draft: null, // unsaved work that is offered
  conflict: null, // what the server said when somebody else had stored a label meanwhile
  hidden: "", // why the stored label must not be replaced, which cannot be shown: "unreadable" or "unreachable"
});

export const tell = () => state.dispatchEvent(new Event("change"));

/** Say something in the panel; errors are read out at once. */
export function say(text, kind = "info") {
  state.message = { text, kind };
  tell();
}

export const unsaved = () => Boolean(state.map?.alive && state.changed.size);

const listed = segments => segments.map(segment => state.names[segment - 1]).join(", ") || "no nodule";
const time = at => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

// --- what the server offers ---

async function learn() {
  const [me, info] = await Promise.all([server.whoAmI(), server.info()]);
  state.user = me.user;
  state.role = me.role ?? "";
  state.names = Array.isArray(info.labels) ? info.labels : Object.keys(info.labels ?? {});
  state.strategies = Object.keys(info.strategies ?? {});
  state.models = Object.entries(info.models ?? {}).map(([name, model]) => ({ name, ...model }));
  drafts.clean().catch(() => {}); // a browser may have no such store
}

let learnt = null;

/** What the server offers, asked once; again after a failure. */
function known() {
  learnt ??= learn().catch(error => {
    learnt = null;
    throw error;
  });
  return learnt;
}

/** Ask anew what the server offers: a training may have changed it. */
export async function refresh() {
  await learn();
  tell();
}

// --- opening ---

/** The CT in the active view, if it is loaded as a volume: its display set. */
function inView() {
  const { viewportGridService, displaySetService } = ohif.services;
  const { activeViewportId, viewports } = viewportGridService.getState();
  const [uid] = viewports.get(activeViewportId)?.displaySetInstanceUIDs ?? [];
  return displaySetService.getDisplaySetByUID(uid);
}

/** Why a CT cannot be labelled, "" if it can. Slices are missing (7) or unevenly apart (8): a label would be moved. */
function obstacle(displaySet) {
  if (displaySet.Modality !== "CT") return "This series is not a CT.";
  const codes = displaySet.messages?.messages?.map(({ id }) => id) ?? [];
  if (codes.includes(7)) return "Slices of this CT are missing: a label would not lie where you see it.";
  if (codes.includes(8)) return "The slices of this CT are not evenly apart: a label would not lie where you see it.";
  return displaySet.isReconstructable ? "" : "This series cannot be shown as a volume.";
}

let opening = Promise.resolve();

/** Look whether another CT has come into view; one after the other. */
function look() {
  opening = opening.then(async () => {
    const displaySet = inView();
    if (!displaySet || (displaySet.SeriesInstanceUID === state.image && state.map?.alive)) return;
    await open(displaySet).catch(error => say(error.message, "error"));
  });
}

async function open(displaySet) {
  await leave();
  Object.assign(state, { image: displaySet.SeriesInstanceUID, study: displaySet.StudyInstanceUID });
  Object.assign(state, { problem: obstacle(displaySet), version: null, about: null, hidden: "" });
  say("Loading the label …");
  if (state.problem) return say(state.problem, "error");
  await known();
  state.map = await LabelMap.make(ohif.services, displaySet, state.names);
  state.measures = new Measures(state.map.volume);
  setWindow(ohif, firstName());
  await restore();
  await offer();
}

/** Put what is stored into the label map. */
export async function restore() {
  state.hidden = "";
  try {
    await learnVersion();
    if (state.version) state.map.put(state.map.differing(await stored()));
    keepAsStored();
    const [first] = state.measures.present();
    if (first) {
      state.map.activeSegment = first;
      state.map.jumpTo(state.measures.of(first).center);
    }
    say(state.version ? `Stored: ${listed(state.measures.present())}` : "Nothing is stored yet");
  } catch (error) {
    // What cannot be shown must not be replaced unseen; another program's stays where it is.
    const lost = error.unreachable || error.status >= 500;
    if (!error.foreign) state.hidden = lost ? "unreachable" : "unreadable";
    const otherwise = lost ? "Try again." : "Correct it in 3D Slicer, or start anew.";
    const advice = error.foreign ? "What you save is stored beside it." : otherwise;
    say(`The stored label cannot be shown: ${error.message}. ${advice}`, "error");
  }
}

/** Which label is stored now. */
async function learnVersion() {
  const { version, info, problem } = await server.about(state.image);
  Object.assign(state, { version, about: info });
  if (problem) throw Object.assign(new Error(`another program's label cannot be read: ${problem}`), { foreign: true });
}

/** The voxels of the stored label, numbered as the list of labels is. */
async function stored() {
  const voxels = await fromNifti(await server.label(state.image), state.map.volume);
  const values = Object.fromEntries((state.about.label_info ?? []).map(({ name, idx }) => [idx, state.names.indexOf(name) + 1]));
  if (valuesOf(voxels).some(value => !values[value])) throw new Error("it holds a label that is not in the list");
  return translated(voxels, values);
}

/** What is in the label map is what is stored. */
function keepAsStored() {
  state.stored = filled();
  state.changed.clear();
  state.map.slices.forEach((slice, place) => state.measures.update(place, slice));
}

/** The slices that are not empty. */
const filled = () => new Map([...state.map.slices.entries()].filter(([, slice]) => slice.some(Boolean)).map(copied));
const copied = ([place, slice]) => [place, slice.slice()];

/** Somebody wants to label it anew, though what is stored cannot be shown; that stays in the archive's history. */
export function startAnew() {
  state.hidden = "";
  say("Start anew: what you save replaces the label that cannot be shown. Nothing else is lost.");
}

// --- changes ---

function modified({ detail }) {
  const { map } = state;
  if (!map?.alive || detail.segmentationId !== map.id || !state.measures) return;
  const slices = map.slices;
  for (const place of map.placesOf(detail.modifiedSlicesToUse)) {
    state.measures.update(place, slices[place]);
    const stored = state.stored.get(place);
    const same = stored ? slices[place].every((value, index) => value === stored[index]) : !slices[place].some(Boolean);
    if (same) state.changed.delete(place);
    else state.changed.add(place);
  }
  clearTimeout(keeping);
  keeping = setTimeout(keepDraft, KEEP_AFTER);
  tell();
}

let keeping = 0;

/** Keep unsaved work in this browser; what is saved needs no draft. */
async function keepDraft() {
  clearTimeout(keeping);
  const { map, user, image, names, version, draft } = state;
  if (!map?.alive || draft) return; // what is offered is not overwritten
  const of = map.volume.imageIds;
  const kept = unsaved() ? drafts.keep(user, image, { slices: filled(), names, of, version }) : drafts.drop(user, image);
  await kept.catch(error => say(`Unsaved work cannot be kept in this browser: ${error.message}`, "error"));
}

/** Offer unsaved work that this browser has of the CT. */
async function offer() {
  state.draft = (await drafts.of(state.user, state.image).catch(() => null)) ?? null;
  const { draft, names, map } = state;
  if (!draft) return;
  // Slices came or went since, or the list of labels is another: it would lie elsewhere, or mean something else.
  if (String([draft.names, draft.of]) === String([names, map.volume.imageIds])) return tell();
  state.draft = null;
  say(`Unsaved work of ${time(draft.at)} cannot be taken back: the CT or the list of labels has changed since.`, "error");
}

/** Take the offer, or let go of it. */
export async function answerOffer(take) {
  const { draft, map } = state;
  state.draft = null;
  if (!take) return drafts.drop(state.user, state.image).finally(tell);
  const voxels = map.slices.map((slice, place) => [place, draft.slices.get(place) ?? new Uint8Array(slice.length)]);
  map.write(new Map(voxels.filter(([place, wanted]) => !map.slices[place].every((value, at) => value === wanted[at]))));
  say(`Unsaved work of ${time(draft.at)} is back. It is not saved yet.`);
  return undefined;
}

// --- saving ---

/** The label map as a file, with the segments that are not empty numbered from 1. */
async function packed() {
  const present = state.measures.present();
  const numbers = Object.fromEntries(present.map((segment, place) => [segment, place + 1]));
  const file = await toNrrd(state.map.volume, translated(state.map.read(), numbers));
  return { file, segments: present.map((segment, place) => ({ name: state.names[segment - 1], idx: place + 1 })), present };
}

let saving = false;

/** Store the label; whether it is stored. */
export async function save() {
  if (!state.map?.alive || state.hidden || saving) return false;
  saving = true;
  say("Saving …");
  try {
    const { file, segments, present } = await packed();
    state.version = await server.store(state.image, file, segments, state.version);
    state.conflict = null;
    keepAsStored();
    await keepDraft();
    say(`Saved in the archive at ${time(Date.now())}: ${listed(present)}`, "good");
    return true;
  } catch (error) {
    if (error.said?.changed_by !== undefined) state.conflict = error.said;
    const login = error.status === 401 ? " Open your address in another tab, then save again here." : "";
    say(`Not saved: ${error.message}. Your label is still here.${login}`, "error");
    return false;
  } finally {
    saving = false;
  }
}

/** After a conflict: show what somebody else has stored, or store what is here in its place. */
export async function settle(mine) {
  state.conflict = null;
  try {
    await learnVersion();
    if (mine) return save();
    const theirs = state.map.differing(state.version ? await stored() : new Uint8Array(state.map.read().length));
    state.map.write(theirs);
    keepAsStored();
    say("This is the label that somebody else stored. Undo brings yours back.");
  } catch (error) {
    say(`Their label cannot be shown: ${error.message}. Yours is still here.`, "error");
  }
  return false;
}

/** Leave the CT: unsaved work stays in this browser. All is let go of at once; what is awaited is the draft. */
export function leave() {
  const kept = unsaved() ? keepDraft().then(tellLeft) : Promise.resolve();
  points.clear();
  if (state.map?.alive) state.map.remove();
  Object.assign(state, { image: "", map: null, measures: null, draft: null, conflict: null, stored: new Map() });
  state.changed = new Set();
  return kept;
}

function tellLeft() {
  ohif.services.uiNotificationService.show({
    title: "Not saved",
    message: "The label that you left is kept in this browser. Open the CT again to go on.",
    type: "warning",
    duration: 8000,
  });
}

/** Begin: OHIF is there, and no study yet. */
export function start({ services, commandsManager }) {
  Object.assign(ohif, { services, commandsManager });
  const { cornerstoneViewportService, viewportGridService } = services;
  cornerstoneViewportService.subscribe(cornerstoneViewportService.EVENTS.VIEWPORT_VOLUMES_CHANGED, look);
  viewportGridService.subscribe(viewportGridService.EVENTS.ACTIVE_VIEWPORT_ID_CHANGED, look);
  cornerstone.eventTarget.addEventListener(cornerstoneTools.Enums.Events.SEGMENTATION_DATA_MODIFIED, modified);
  window.addEventListener("beforeunload", event => unsaved() && event.preventDefault());
}
