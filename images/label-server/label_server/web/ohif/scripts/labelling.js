// From one CT to another in OHIF: which one is in view, whether it can be labelled, and what changes in its label map.

import * as ahead from "./ahead.js";
import { LabelMap } from "./label_map.js";
import { Measures } from "./measures.js";
import * as points from "./points.js";
import * as server from "./server.js";
import { compare, ohif, say, state, tell, unsaved } from "./state.js";
import { restore } from "./stored_label.js";
import { clean, keepLeft, later } from "./unsaved.js";
import { firstName, setWindow } from "./windows.js";

// --- what the server offers ---

async function learn() {
  const [me, info] = await Promise.all([server.whoAmI(), server.info()]);
  state.user = me.user;
  state.role = me.role ?? "";
  state.names = Array.isArray(info.labels) ? info.labels : Object.keys(info.labels ?? {});
  state.strategies = Object.keys(info.strategies ?? {});
  const models = Object.entries(info.models ?? {}).map(([name, model]) => ({ name, ...model }));
  state.models = models.filter(({ type }) => type !== "scribbles"); // they refine scribbles, which only 3D Slicer has
  server.expect(state.user);
  clean();
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

/** The display set in the active view. */
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

/** Why the label server offers a series to nobody, "" if it may be labelled or more of it may come. */
async function leftOut(image) {
  const { datastore } = await server.info();
  const [, why] = /^[a-z-]+: (.+)$/.exec(datastore?.left_out?.[image] ?? "") ?? []; // after the name of the check
  return why ? `${why[0].toUpperCase()}${why.slice(1)}.` : "";
}

let opening = Promise.resolve();

/** Look whether another CT has come into view; one after the other. */
function look() {
  opening = opening.then(async () => {
    const displaySet = inView();
    if (!displaySet || (displaySet.SeriesInstanceUID === state.image && (state.map?.alive || state.problem))) return;
    await open(displaySet).catch(error => say(error.message, "error"));
  });
}

/** OHIF shows nothing of a study in which it finds no volume, and does not say so. */
function unmatched({ viewportMatchDetails }) {
  const shown = [...viewportMatchDetails.values()].flatMap(({ displaySetsInfo }) => displaySetsInfo ?? []);
  if (shown.some(info => info?.displaySetInstanceUID)) return;
  const found = ohif.services.displaySetService.getActiveDisplaySets();
  const [first] = [...found.filter(({ Modality }) => Modality === "CT"), ...found];
  if (first) opening = opening.then(() => open(first).catch(error => say(error.message, "error")));
}

/** OHIF has come into the mode: the panel has something to show, also where OHIF finds no image to show. */
export async function enter() {
  const image = new URLSearchParams(window.location.search).get("SeriesInstanceUIDs");
  try {
    await known();
    const why = image && (await leftOut(image));
    if (why && !state.image) say(why, "error");
    tell();
  } catch (error) {
    say(error.message, "error");
  }
}

async function open(displaySet) {
  leave();
  const image = displaySet.SeriesInstanceUID;
  Object.assign(state, { image, study: displaySet.StudyInstanceUID, hidden: "loading" });
  state.dispatchEvent(new Event("opening"));
  say("Loading the label …");
  await known();
  const problem = (await leftOut(image)) || obstacle(displaySet);
  if (state.image !== image) return undefined; // it has been left meanwhile
  Object.assign(state, { problem });
  if (problem) return say(problem, "error");
  state.map = await LabelMap.make(ohif.services, displaySet, state.names);
  state.measures = new Measures(state.map.volume);
  setWindow(ohif, firstName());
  return restore();
}

/** Leave the CT: all is let go of at once, and unsaved work stays in this browser. */
export function leave() {
  keepLeft();
  ahead.left(state.image);
  points.clear();
  if (state.map?.alive) state.map.remove();
  Object.assign(state, { image: "", map: null, measures: null, content: null });
  Object.assign(state, { version: null, about: null });
  Object.assign(state, { draft: null, conflict: null, stored: new Map(), changed: new Set(), problem: "", hidden: "" });
  // Steps of a CT that is gone cannot be undone in the next; they hold its slices.
  const history = cornerstone.utilities.HistoryMemo.DefaultHistoryMemo;
  history.size = history.size; // empties it
}

// --- changes ---

function modified({ detail }) {
  const { map, measures } = state;
  if (!map?.alive || detail.segmentationId !== map.id || !measures) return;
  const slices = map.slices;
  const places = map.placesOf(detail.modifiedSlicesToUse);
  for (const place of places) measures.update(place, slices[place]);
  compare(places);
  later();
  tell();
}

/** Begin: OHIF is there, and no study yet. */
export function start({ services, commandsManager }) {
  Object.assign(ohif, { services, commandsManager });
  const { cornerstoneViewportService, hangingProtocolService, viewportGridService } = services;
  cornerstoneViewportService.subscribe(cornerstoneViewportService.EVENTS.VIEWPORT_VOLUMES_CHANGED, look);
  hangingProtocolService.subscribe(hangingProtocolService.EVENTS.PROTOCOL_CHANGED, unmatched);
  viewportGridService.subscribe(viewportGridService.EVENTS.ACTIVE_VIEWPORT_ID_CHANGED, look);
  cornerstone.eventTarget.addEventListener(cornerstoneTools.Enums.Events.SEGMENTATION_DATA_MODIFIED, modified);
  window.addEventListener("beforeunload", event => unsaved() && event.preventDefault());
}
