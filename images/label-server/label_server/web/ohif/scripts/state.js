// What is labelled just now: the CT that is in view, its label map, what is stored of it, and what is not saved yet.
//
// The panel shows it, and is told of each change.

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
  content: null, // the version of the CT's content, which is painted on; null if the server was not asked
  version: null, // of the label that a save replaces; null if there is none
  about: null, // what the stored label says of itself
  stored: new Map(), // its slices that are not empty
  changed: new Set(), // places of slices that differ from it
  draft: null, // unsaved work that is offered
  conflict: null, // what the server said when somebody else had stored a label meanwhile
  // Why nothing may be painted or saved: "loading", "offer" while one is not answered, and if the stored label, which
  // must not be replaced unseen, is "unreadable" or "unreachable".
  hidden: "",
});

export const tell = () => state.dispatchEvent(new Event("change"));

/** Say something in the panel. */
export function say(text, kind = "info") {
  state.message = { text, kind };
  tell();
}

/** Say something where it is seen without the panel, too. */
export const notify = (title, message, type = "warning") =>
  ohif.services.uiNotificationService.show({ title, message, type, duration: 8000 });

/** Whether there is a label map that may be worked on. */
export const ready = () => Boolean(state.map?.alive && state.measures && !state.hidden);

/** Whether a label map is still the one that is labelled: while something was waited for, another CT may have come. */
export const still = map => state.map === map && map.alive;

export const unsaved = () => Boolean(state.map?.alive && state.changed.size);

/** The slices that are not empty: copies, by their places. */
export const filled = () =>
  new Map([...state.measures.slices.keys()].map(place => [place, state.map.slices[place].slice()]));

/** Look anew whether slices differ from what is stored. */
export function compare(places) {
  const { slices } = state.map;
  for (const place of places) {
    const stored = state.stored.get(place);
    const filledNow = state.measures.slices.has(place);
    const same = stored && filledNow ? slices[place].every((value, at) => value === stored[at]) : !stored && !filledNow;
    if (same) state.changed.delete(place);
    else state.changed.add(place);
  }
}

/** Take slices for what is stored. */
export function takeAsStored(stored) {
  state.stored = stored;
  state.changed = new Set();
  compare(new Set([...stored.keys(), ...state.measures.slices.keys()]));
}

export const listed = segments => segments.map(segment => state.names[segment - 1]).join(", ") || "no nodule";
export const time = at => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
