// The label map of a CT in OHIF: made, read, written and told of changes, on the grid of the CT's volume.
//
// Its voxels are reached slice by slice: what OHIF calls its volume is gone soon after the first stroke. Its slices are
// in the order of the instances, those of the CT's volume by position: each is found through the slice it lies on.

let made = 0; // OHIF keeps the colours of an id for ever: each label map has an id of its own

// Told apart by everybody.
const COLORS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2"];

/** Whether two slices are the same; a loop, since a function for each voxel of a CT takes a second. */
function same(one, other) {
  for (let index = 0; index < one.length; index += 1) if (one[index] !== other[index]) return false;
  return true;
}

export const color = index => COLORS[(index - 1) % COLORS.length];

export class LabelMap {
  /**
   * Make an empty label map, and show it in the views of a CT.
   *
   * `services` are OHIF's; `displaySet` is the CT; `names` are the segments' names, the first one is 1.
   */
  static async make(services, displaySet, names) {
    const { segmentationService } = services;
    const segments = Object.fromEntries(names.map((label, place) => [place + 1, { label, active: place === 0 }]));
    const segmentationId = `labelpod-${(made += 1)}`;
    await segmentationService.createLabelmapForDisplaySet(displaySet, { segmentationId, label: "Label", segments });
    const map = new LabelMap(services, segmentationId, names);
    await map.show();
    return map;
  }

  constructor(services, id, names) {
    this.services = services;
    this.id = id;
    this.names = names;
  }

  /** Show it in every view of the CT, in colours that can be told apart. */
  async show() {
    const { segmentationService, viewportGridService } = this.services;
    for (const viewportId of viewportGridService.getState().viewports.keys()) {
      await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId: this.id, type: "Labelmap" });
      this.names.forEach((_, place) => {
        const code = color(place + 1);
        const rgb = [1, 3, 5].map(start => parseInt(code.slice(start, start + 2), 16));
        segmentationService.setSegmentColor(viewportId, this.id, place + 1, [...rgb, 255]);
      });
    }
  }

  /** Whether OHIF still has it. */
  get alive() {
    return Boolean(this.#data);
  }

  get #data() {
    return cornerstoneTools.segmentation.state.getSegmentation(this.id)?.representationData.Labelmap;
  }

  /** The CT's volume: its grid is the label map's, also when the views are gone. */
  get volume() {
    return (this.found ??= this.#find());
  }

  #find() {
    const { cornerstoneViewportService, viewportGridService } = this.services;
    for (const viewportId of viewportGridService.getState().viewports.keys()) {
      const view = cornerstoneViewportService.getCornerstoneViewport(viewportId);
      const volume = view?.getVolumeId && cornerstone.cache.getVolume(view.getVolumeId());
      if (volume && this.#order(volume)) return volume;
    }
    return undefined;
  }

  /** For each slice of the label map its place in the volume; undefined if it is another CT's. */
  #order(volume) {
    if (this.ordered?.volume === volume) return this.ordered.places;
    const places = Object.fromEntries(volume.imageIds.map((id, place) => [id, place]));
    const found = this.#data.imageIds.map(id => places[cornerstone.cache.getImage(id).referencedImageId]);
    if (found.includes(undefined)) return undefined;
    this.ordered = { volume, places: found };
    return found;
  }

  /** The slices in the volume's order: the voxels themselves, row by row. */
  get slices() {
    const result = [];
    this.#order(this.volume).forEach((place, slice) => {
      result[place] = cornerstone.cache.getImage(this.#data.imageIds[slice]).voxelManager.getScalarData();
    });
    return result;
  }

  /** Places of slices that an event of Cornerstone's names; all if it names none. */
  placesOf(named) {
    return named?.length ? named : [...this.slices.keys()];
  }

  /** Tell Cornerstone that slices have changed; in its events they are counted as in the volume. */
  changed(places) {
    cornerstoneTools.segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(this.id, places);
  }

  /**
   * Write slices, with a step that can be undone.
   *
   * `written` is a Map from places to voxels; `restored` is called with whether it was undone or done again.
   */
  write(written, restored = () => {}) {
    if (!written.size) return;
    const slices = this.slices;
    const before = new Map([...written.keys()].map(place => [place, slices[place].slice()]));
    this.put(written);
    cornerstone.utilities.HistoryMemo.DefaultHistoryMemo.push({
      id: this.id,
      operationType: "labelmap",
      restoreMemo: undone => {
        if (!this.alive) return;
        this.put(undone ? before : written);
        restored(undone);
      },
    });
  }

  /** Write slices, with no step to undo. */
  put(written) {
    if (!written.size) return; // Cornerstone takes no slices for all of them
    const slices = this.slices;
    for (const [place, voxels] of written) slices[place].set(voxels);
    this.changed([...written.keys()]);
  }

  /** All voxels, slice by slice. */
  read() {
    const slices = this.slices;
    const size = slices[0].length;
    const voxels = new Uint8Array(size * slices.length);
    slices.forEach((slice, place) => voxels.set(slice, place * size));
    return voxels;
  }

  /** Voxels of the whole volume as `write` and `put` take them, without the slices that are the same here. */
  differing(voxels) {
    const size = this.slices[0].length;
    const written = new Map();
    this.slices.forEach((slice, place) => {
      const wanted = voxels.subarray(place * size, (place + 1) * size);
      if (!same(slice, wanted)) written.set(place, wanted.slice());
    });
    return written;
  }

  /** The voxel at a place in millimetres. */
  toVoxel(point) {
    return cornerstone.utilities.transformWorldToIndex(this.volume.imageData, point).map(Math.round);
  }

  get activeSegment() {
    return cornerstoneTools.segmentation.segmentIndex.getActiveSegmentIndex(this.id);
  }

  set activeSegment(index) {
    this.services.segmentationService.setActiveSegment(this.id, index);
  }

  /** Move all views to a voxel. */
  jumpTo(voxel) {
    const point = cornerstone.utilities.transformIndexToWorld(this.volume.imageData, voxel);
    const { cornerstoneViewportService, viewportGridService } = this.services;
    for (const id of viewportGridService.getState().viewports.keys())
      cornerstoneViewportService.getCornerstoneViewport(id)?.jumpToWorld?.(point);
  }

  remove() {
    if (this.alive) this.services.segmentationService.remove(this.id);
  }
}
