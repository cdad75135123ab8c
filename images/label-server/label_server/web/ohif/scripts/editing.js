// Tools that a person labels with, and what they do to a segment as a whole.

import { between } from "./between.js";
import { forget } from "./models.js";
import { across, slicesOf } from "./planes.js";
import { ohif, ready, say, state, tell } from "./state.js";
import * as points from "./points.js";

// Name -> Cornerstone's tool, what the panel calls it, its key.
export const TOOLS = {
  foreground: { tool: points.FOREGROUND, title: "Point in it", key: "F" },
  background: { tool: points.BACKGROUND, title: "Point beside it", key: "G" },
  sphere: { tool: "SphereBrush", title: "Brush, sphere", key: "B" },
  circle: { tool: "CircularBrush", title: "Brush, circle", key: "C" },
  eraser: { tool: "SphereEraser", title: "Eraser", key: "E" },
  threshold: { tool: "ThresholdSphereBrush", title: "Threshold brush", key: "T" },
  scissors: { tool: "CircleScissors", title: "Scissors", key: "X" },
  window: { tool: "WindowLevel", title: "Window and level", key: "W" },
};
// What the threshold brush paints, in HU.
export const THRESHOLDS = { solid: [-300, 3000], "ground glass": [-750, -300], "part-solid": [-750, 3000] };
const BRUSHES = ["sphere", "circle", "eraser", "threshold"];
const LARGEST = 50; // mm

export const chosen = { tool: "window", diameter: 3, threshold: "solid" };

export const isBrush = () => BRUSHES.includes(chosen.tool);

const activate = name =>
  ohif.commandsManager.run("setToolActiveToolbar", { toolName: TOOLS[name].tool, toolGroupIds: ["mpr", "default"] });

// While a label is loaded nobody paints; then the tool of before is there again.
state.addEventListener("opening", () => activate("window"));
state.addEventListener("opened", () => choose(chosen.tool));

/** Take a tool. */
export function choose(name) {
  if (!ready() && name !== "window") return;
  chosen.tool = name;
  activate(name);
  if (!ready()) return;
  resize(chosen.diameter);
  range(chosen.threshold);
}

/**
 * Which way the axial view looks at the CT: how far along each axis of its voxels (1: just along it), along which most
 * of all, and at which place there; none if there is no such view.
 */
function axial() {
  const { cornerstoneViewportService, viewportGridService } = ohif.services;
  const { direction } = state.map.volume;
  for (const id of viewportGridService.getState().viewports.keys()) {
    const view = cornerstoneViewportService.getCornerstoneViewport(id);
    if (view?.options?.orientation !== "axial" && view?.defaultOptions?.orientation !== "axial") continue;
    const { viewPlaneNormal, focalPoint } = view.getCamera();
    const along = [0, 1, 2].map(axis => Math.abs(viewPlaneNormal.reduce((sum, each, row) => sum + each * direction[3 * axis + row], 0)));
    const axis = along.indexOf(Math.max(...along));
    return { along, axis, place: state.map.toVoxel(focalPoint)[axis] };
  }
  return { along: [], axis: 2 };
}

/** The smallest brush that paints a voxel wherever it is set down in the axial view. */
function smallest() {
  const { along } = axial();
  // Just along an axis the view is in the middle of a slice; else it may lie between two.
  return Math.hypot(...state.map.volume.spacing.filter((_, axis) => !(along[axis] > 0.9999)));
}

/** Give all brushes a diameter in millimetres. */
export function resize(diameter) {
  const least = state.map?.alive ? smallest() : 0;
  chosen.diameter = Math.min(LARGEST, Math.max(Math.ceil(least * 10) / 10, Math.round(diameter * 10) / 10));
  ohif.commandsManager.run("setBrushSize", { value: chosen.diameter / 2 });
  tell();
}

/** Choose what the threshold brush paints. */
export function range(name) {
  chosen.threshold = name;
  ohif.commandsManager.run("setThresholdRange", { value: THRESHOLDS[name] });
  tell();
}

/** Make a segment the one that is painted; a second time moves the views to it. */
export function segment(index) {
  const { map, names } = state;
  if (!ready() || index > names.length) return;
  const found = map.activeSegment === index && state.measures.of(index);
  if (found) map.jumpTo(found.center);
  map.activeSegment = index;
  tell();
}

/** Empty a segment; its points go, too. */
export function empty(index) {
  if (!ready()) return;
  const written = new Map();
  state.map.slices.forEach((slice, place) => {
    if (slice.includes(index)) written.set(place, slice.map(value => (value === index ? 0 : value)));
  });
  points.clear(index);
  forget(index);
  if (written.size) state.map.write(written);
  say(`${state.names[index - 1]} is empty. Undo brings it back.`);
}

/** Copy the active segment from the neighbouring slice that has it into the one in the axial view. */
export function copySlice() {
  const { map } = state;
  if (!ready()) return;
  const [{ axis, place }, index, columns] = [axial(), map.activeSegment, map.volume.dimensions[0]];
  const { planes } = across(map.slices, columns, axis);
  const from = [place - 1, place + 1].find(each => planes[each]?.includes(index));
  if (from === undefined) return void say("Neither slice beside this one has the chosen label.", "error");
  const copy = planes[place].map((value, at) => (planes[from][at] === index && value === 0 ? index : value));
  map.write(slicesOf(new Map([[place, copy]]), map.slices, columns, axis));
  say(`${state.names[index - 1]} is copied from the slice beside.`);
}

/** Fill the slices of the axial view between those that have the active segment. */
export function fill() {
  const { map } = state;
  if (!ready()) return;
  const [{ axis }, columns] = [axial(), map.volume.dimensions[0]];
  const { planes, width } = across(map.slices, columns, axis);
  const written = between(planes, width, map.activeSegment);
  if (!written.size) return void say("No slice is missing between those that have the chosen label.", "error");
  map.write(slicesOf(written, map.slices, columns, axis));
  say(`${state.names[map.activeSegment - 1]}: the slices between are filled.`);
}
