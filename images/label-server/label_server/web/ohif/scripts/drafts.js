// Unsaved work, kept in this browser against a crash: for each user and image the slices that are not empty.

const STORE = "drafts";
const DAYS = 30;

/** A request of IndexedDB as a promise. */
const done = request =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

function database() {
  const opening = indexedDB.open("labelpod", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  return done(opening);
}

async function inStore(mode, work) {
  const opened = await database();
  try {
    return await work(opened.transaction(STORE, mode).objectStore(STORE));
  } finally {
    opened.close();
  }
}

const key = (user, image) => `${user}/${image}`;
const zipped = voxels => new Response(new Blob([voxels]).stream().pipeThrough(new CompressionStream("gzip"))).blob();

async function unzipped(blob) {
  return new Uint8Array(await new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

/**
 * Keep a draft: `slices` is a Map from places to voxels, `of` the images that they lie on, `names` are the
 * segments', `version` is what it began from.
 */
export async function keep(user, image, { slices, names, of, version }) {
  const packed = await Promise.all([...slices].map(async ([place, voxels]) => [place, await zipped(voxels)]));
  const draft = { slices: packed, names, of, version, at: Date.now() };
  await inStore("readwrite", store => done(store.put(draft, key(user, image))));
}

/** The draft of an image, as it was kept, with the time `at`; undefined if there is none. */
export async function of(user, image) {
  const draft = await inStore("readonly", store => done(store.get(key(user, image))));
  if (!draft) return undefined;
  const slices = new Map(await Promise.all(draft.slices.map(async ([place, blob]) => [place, await unzipped(blob)])));
  return { ...draft, slices };
}

export const drop = (user, image) => inStore("readwrite", store => done(store.delete(key(user, image))));

/** Let go of what nobody came back for, of whichever user. */
export const clean = () =>
  inStore("readwrite", async store => {
    const before = Date.now() - DAYS * 24 * 3600 * 1000;
    for (const each of await done(store.getAllKeys()))
      if ((await done(store.get(each))).at < before) await done(store.delete(each));
  });
