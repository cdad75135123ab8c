// The model that the panel has chosen, and whether it runs at each click.

import { ready, say, state, tell } from "./state.js";
import { isQuick, run } from "./models.js";
import * as points from "./points.js";

const USED = "labelpod-model";

export const choice = { name: localStorage.getItem(USED) ?? "", live: undefined };

/** The model; the first one that is quick until one was chosen. */
export function model() {
  const { models } = state;
  return models.find(({ name }) => name === choice.name) ?? models.find(isQuick) ?? models[0];
}

export function choose(name) {
  localStorage.setItem(USED, name);
  Object.assign(choice, { name, live: undefined });
  tell();
}

/** Whether it runs at each click; by itself only if it is quick. */
export const isLive = () => choice.live ?? Boolean(model() && isQuick(model()));

export function setLive(live) {
  choice.live = live;
  tell();
}

export function runChosen() {
  if (!model()) return void say("The server has no model.", "error");
  return run(model());
}

/** A point was placed: it is for the active segment, and a model that is live answers. */
export function placed({ detail: { annotation } }) {
  if (!points.isPoint(annotation) || !ready()) return;
  points.assign(annotation, state.map.activeSegment);
  if (isLive()) runChosen();
}
