// What is asked of the label server.

/** An answer that says no; `status` and what else the server said of it. */
export class Refused extends Error {
  constructor(status, said) {
    super(said.detail ?? `the label server answers ${status}`);
    Object.assign(this, { status, said });
  }
}

/** Ask; a good answer. Throws `Refused`, or Error without an answer. */
async function ask(url, options) {
  const answer = await fetch(url, options).catch(error => {
    throw error.name === "AbortError" ? error : Object.assign(new Error("the label server does not answer"), { unreachable: true });
  });
  if (answer.ok) return answer;
  const refused = new Refused(answer.status, await answer.json().catch(() => ({})));
  throw Object.assign(refused, { foreign: answer.headers.has("X-Label-Of") });
}

let expected = ""; // the user of this page

/** Tell whose page this is: another may log in to the browser meanwhile, and nothing is changed in that name unseen. */
export const expect = user => (expected = user);

/** Ask for a change. */
async function change(url, options) {
  const { user } = await whoAmI();
  if (user !== expected) throw new Error(`${user} has logged in to this browser meanwhile: load the page again`);
  return ask(url, options);
}

const json = async (url, options) => (await ask(url, options)).json();
const asJson = (method, body) => ({
  method,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});
const query = parameters => new URLSearchParams(parameters).toString();

export const whoAmI = () => json("/", { headers: { Accept: "application/json" } });
export const info = () => json("/info/");

/** Which label of an image counts: its version, null if there is none, and what it says of itself; and the content. */
export const about = image => json(`/viewer/label?${query({ image })}`);

/** The stored label, as NIfTI. */
export const label = async image => (await ask(`/datastore/label?${query({ label: image, tag: "final" })}`)).body;

/**
 * Store a label if the stored one is still of this version (null: if there is none), and the image has the content
 * that it was painted on; the new version.
 */
export async function store(image, content, file, segments, version) {
  const form = new FormData();
  form.append("params", JSON.stringify({ label_info: segments }));
  form.append("label", file, "label.nrrd");
  const headers = version ? { "If-Match": version } : { "If-None-Match": "*" };
  const where = query(content ? { image, painted_on: content } : { image });
  const answer = await change(`/datastore/label?${where}`, { method: "PUT", headers, body: form });
  return answer.headers.get("ETag");
}

/** A model's answer for an image, as NIfTI. */
export async function infer(model, image, parameters, signal) {
  const form = new FormData();
  form.append("params", JSON.stringify({ ...parameters, result_extension: ".nii.gz", result_dtype: "uint8" }));
  const url = `/infer/${encodeURIComponent(model)}?${query({ image, output: "image" })}`;
  return (await ask(url, { method: "POST", body: form, signal })).body;
}

/** How many inferences work and wait, and the place of one's own among those that wait. */
export const queue = () => json("/infer/queue");

/** The next image, or why there is none. */
export const next = strategy => json(`/activelearning/${encodeURIComponent(strategy)}`, asJson("POST", {}));
/** The image that will be next by a strategy once this one is labelled, and its study; null if that is open. */
export const following = (strategy, image) => json(`/viewer/following?${query({ strategy, image })}`);
export const skip = (image, reason) => change(`/activelearning/skip?${query({ image })}`, asJson("POST", { reason }));

/** Labels that wait for a reviewer, and what was said of those that were reviewed. */
export const reviews = () => json("/datastore/review");

/** Say what a reviewer thinks of this version of a label, as MONAI Label Reviewer does. */
export function review(image, said, version) {
  const form = new FormData();
  form.append("params", JSON.stringify({ segmentationMeta: said }));
  const url = `/datastore/updatelabelinfo?${query({ label: image, tag: "final" })}`;
  return change(url, { method: "PUT", headers: { "If-Match": version }, body: form });
}

export const train = model => change(`/train/${encodeURIComponent(model)}`, asJson("POST", {}));
/** The trainings that run: of which model, and how many of its epochs are done. */
export const trainings = () => json("/viewer/training");
