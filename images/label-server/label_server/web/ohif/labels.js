// The label map of OHIF's panel for MONAI Label, to the label server and back.
//
// It goes the way that 3D Slicer's goes, so that the server makes the DICOM SEG: OHIF's own export codes every segment
// as tissue and replaces nothing. `services`, `cornerstone` and `cornerstoneTools` are OHIF's, on the window.

import { fromNifti, toNrrd, translated, valuesOf } from "./volumes.js";

/** As upstream's panel calls it (monailabel 0.8.5, MonaiLabelPanel.tsx). */
export const SEGMENTATION = "1";

const map = () => cornerstoneTools.segmentation.state.getSegmentation(SEGMENTATION)?.representationData.Labelmap;
const volume = () => services.segmentationService.getLabelmapVolume(SEGMENTATION);

/** A copy of what is painted, numbered as the panel numbers its segments. */
export const voxels = () => volume().voxelManager.getCompleteScalarDataArray();

const segments = () => Object.values(services.segmentationService.getSegmentation(SEGMENTATION).segments);

/** Tells one label map from another; "" if there is none. */
export const identity = () => (map() && volume() ? map().imageIds[0] : "");

/** Series UID of the image that is labelled, whatever else the user has put into a view since. */
export function image() {
  const slice = cornerstone.cache.getImage(map().imageIds[0]).referencedImageId;
  return cornerstone.metaData.get("instance", slice).SeriesInstanceUID;
}

/** A good answer, or null if there may be nothing and is nothing; throws what the server says against it. */
async function answered(request, mayBeNothing = false) {
  const answer = await request.catch(() => {
    throw new Error("the label server does not answer");
  });
  if (answer.ok) return answer;
  if (mayBeNothing && answer.status === 404) return null;
  const { detail } = await answer.json().catch(() => ({}));
  const error = new Error(detail ?? `the label server answers ${answer.status}`);
  throw Object.assign(error, { foreign: answer.headers.has("X-Label-Of") });
}

/** The segments that are not empty. */
export function present(painted) {
  const values = valuesOf(painted);
  return segments().filter(segment => values.includes(segment.segmentIndex));
}

/** Make it the final label of the image. */
export async function store(painted) {
  const numbered = present(painted).map((segment, place) => ({ ...segment, idx: place + 1 }));
  const numbers = Object.fromEntries(numbered.map(({ segmentIndex, idx }) => [segmentIndex, idx]));
  const form = new FormData();
  form.append("params", JSON.stringify({ label_info: numbered.map(({ label, idx }) => ({ name: label, idx })) }));
  form.append("label", await toNrrd(volume(), translated(painted, numbers)), "label.nrrd");
  await answered(fetch(`/datastore/label?image=${image()}`, { method: "PUT", body: form }));
}

/** Put the stored label into the label map; whether one is stored. */
export async function restore() {
  const [target, query] = [volume(), `label=${image()}&tag=final`];
  const answer = await answered(fetch(`/datastore/label?${query}`), true);
  if (!answer) return false;
  const stored = await fromNifti(answer.body, target);
  const { label_info: list } = await (await answered(fetch(`/datastore/label/info?${query}`))).json();
  const places = Object.fromEntries(segments().map(({ label, segmentIndex }) => [label, segmentIndex]));
  const values = Object.fromEntries(list.map(({ name, idx }) => [idx, places[name]]));
  if (valuesOf(stored).some(value => !values[value])) throw new Error("it holds a segment that is not in the list");
  target.voxelManager.setCompleteScalarDataArray(translated(stored, values));
  const changed = cornerstoneTools.Enums.Events.SEGMENTATION_DATA_MODIFIED;
  cornerstone.triggerEvent(cornerstone.eventTarget, changed, { segmentationId: SEGMENTATION });
  return true;
}
