// Slices of a CT that do not come: asked for again, and then said. A hole in the CT would look like what is outside it.

import { state, tell } from "./state.js";

const PAUSES = [500, 2000, 5000]; // milliseconds before each try; up to half as much more, so that not all come at once

const failures = new Map(); // image id -> how often it was asked for again, and whether it is about to be

function failed({ detail: { imageId } }) {
  const failure = failures.get(imageId) ?? { tries: 0, waiting: false };
  if (failure.waiting) return; // of one failure there are as many events as there were askers
  failures.set(imageId, failure);
  if (failure.tries === PAUSES.length) return tell();
  failure.waiting = true;
  setTimeout(() => again(imageId, failure), PAUSES[failure.tries++] * (1 + Math.random() / 2));
}

async function again(imageId, failure) {
  failure.waiting = false;
  const volume = cornerstone.cache.getVolumes().find(({ imageIds }) => imageIds?.includes(imageId));
  if (!volume) return void failures.delete(imageId); // the CT was left
  try {
    await cornerstone.imageLoader.loadAndCacheImage(imageId, volume.getLoaderImageOptions(imageId));
  } catch {
    return; // that it failed is an event
  }
  failures.delete(imageId);
  volume.invalidateVolume(true); // draws it
  tell();
}

/** The slices of the CT in view that were asked for several times in vain. */
export function missing() {
  const here = state.map?.alive ? (state.map.volume?.imageIds ?? []) : [];
  return here.filter(id => failures.get(id)?.tries === PAUSES.length && !failures.get(id).waiting);
}

/** Ask for them again. */
export function loadMissing() {
  for (const id of missing()) {
    const failure = { tries: 0, waiting: false };
    failures.set(id, failure);
    again(id, failure);
  }
  tell();
}

export function watch() {
  cornerstone.eventTarget.addEventListener(cornerstone.Enums.Events.IMAGE_LOAD_FAILED, failed);
}
