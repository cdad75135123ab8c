// From one CT to another: the next by a strategy, the one before, or none because there is nothing left.

import * as ahead from "./ahead.js";
import * as server from "./server.js";
import { ohif, say, state } from "./state.js";

const USED = "labelpod-strategy";
const VISITED = "labelpod-visited";

export const strategy = () => {
  const used = localStorage.getItem(USED);
  return state.strategies.includes(used) ? used : (state.strategies.find(name => name === "random") ?? state.strategies[0]);
};
export const setStrategy = name => localStorage.setItem(USED, name);

const visited = () => JSON.parse(sessionStorage.getItem(VISITED) ?? "[]");

/** Open a CT without loading the viewer anew. */
async function open({ study, image }) {
  await ahead.release(image);
  const to = `/label?StudyInstanceUIDs=${study}&SeriesInstanceUIDs=${image}`;
  ohif.commandsManager.run("navigateHistory", { to });
}

/** Open a CT after the panel has asked what is to become of unsaved work. */
export const goTo = place => state.dispatchEvent(new CustomEvent("go", { detail: place }));

/** Remember where one was, to be able to go back. */
function remember() {
  const { study, image } = state;
  if (image) sessionStorage.setItem(VISITED, JSON.stringify([...visited().slice(-49), { study, image }]));
}

const count = (number, one, many) => (number ? [`${number} ${number === 1 ? one : many}`] : []);

/** Why there is no next one, in words. */
function nothing({ labelled, skipped, on_loan: lent, loans = [], left_out: out = {} }) {
  const whose = loans.map(({ user, until }) => `${user} until ${new Date(until).toLocaleTimeString()}`).join(", ");
  const parts = [
    ...count(labelled, "CT is labelled", "CTs are labelled"),
    ...count(lent, "is on loan", "are on loan").map(text => (whose ? `${text} (${whose})` : text)),
    ...count(skipped, "was skipped by you", "were skipped by you"),
    ...count(Object.keys(out).length, "cannot be labelled", "cannot be labelled"),
  ];
  return `Nothing is left for you: ${parts.join(", ") || "the archive has no CT"}.`;
}

/** Open a CT, to come back from it by Previous. */
export function visit(place) {
  remember();
  return open(place);
}

/** Open the next CT. */
export async function next() {
  say("Looking for the next CT …");
  try {
    const found = await server.next(strategy());
    if (!found.id) return say(nothing(found));
    await visit({ study: found.StudyInstanceUID ?? found.study, image: found.id });
  } catch (error) {
    say(`There is no next CT: ${error.message}.`, "error");
  }
  return undefined;
}

export const hasPrevious = () => visited().length > 0;

/** Open the CT that one came from. */
export function previous() {
  const list = visited();
  const last = list.pop();
  if (!last) return;
  sessionStorage.setItem(VISITED, JSON.stringify(list));
  open(last);
}

/** Let others label this CT, with the reason why not. */
export async function skip(reason) {
  try {
    await server.skip(state.image, reason);
  } catch (error) {
    return say(`Not skipped: ${error.message}.`, "error");
  }
  return next();
}
