// Points in a nodule and beside it, which a model starts from: two tools of Cornerstone's, and what they have placed.

export const FOREGROUND = "LabelpodForeground";
export const BACKGROUND = "LabelpodBackground";
const COLORS = { [FOREGROUND]: "rgb(0, 255, 120)", [BACKGROUND]: "rgb(255, 80, 80)" };

/** Tell Cornerstone of both tools; it knows them by their classes' toolName. */
export function register({ ProbeTool, addTool }) {
  for (const name of [FOREGROUND, BACKGROUND]) {
    class PointTool extends ProbeTool {
      static toolName = name;

      constructor(properties = {}) {
        super(properties, { configuration: { handleRadius: 5, getTextLines: () => [] } });
      }

      getAnnotationStyle(context) {
        return { ...super.getAnnotationStyle(context), color: COLORS[name], lineWidth: 2 };
      }
    }
    addTool(PointTool);
  }
}

/** Whether an annotation is one of these points. */
export const isPoint = annotation => annotation.metadata.toolName in COLORS;

const all = () => cornerstoneTools.annotation.state.getAllAnnotations().filter(isPoint);

let placed = 0;

/** Remember which segment a new point is for, and that it was placed after the others. */
export function assign({ data }, segment) {
  data.segment ??= segment;
  data.order ??= placed += 1;
}

/**
 * The points of a segment as voxels (i, j, k), and the one that was placed last.
 *
 * `toVoxel` gives the voxel at a place in millimetres.
 */
export function of(segment, toVoxel) {
  const found = { foreground: [], background: [], last: null };
  for (const { data, metadata } of all().sort((one, other) => one.data.order - other.data.order)) {
    if (data.segment !== segment) continue;
    const voxel = toVoxel(data.handles.points[0]);
    found[metadata.toolName === FOREGROUND ? "foreground" : "background"].push(voxel);
    found.last = voxel;
  }
  return found;
}

/** Take the points of a segment away; of all of them without one. */
export function clear(segment) {
  for (const { annotationUID, data } of all())
    if (segment === undefined || data.segment === segment)
      cornerstoneTools.annotation.state.removeAnnotation(annotationUID);
}
