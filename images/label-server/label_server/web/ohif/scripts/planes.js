// Planes of a label map across one of its axes. It is kept in slices, which are its planes across the last axis; those
// of a CT that was made sagittal or coronal lie across the axial view, in which it is labelled all the same.

/** Where a voxel of a plane lies in a slice, how many of them a plane has in a slice, and how many planes there are. */
function layout(slices, columns, axis) {
  const rows = slices[0].length / columns;
  return axis === 1
    ? { at: (plane, step) => plane * columns + step, width: columns, count: rows }
    : { at: (plane, step) => step * columns + plane, width: rows, count: columns };
}

/**
 * The planes across an axis, in order, each slice by slice, and how wide they are; the slices as they are if it is the
 * last axis. `slices` are in order, row by row, with so many columns.
 */
export function across(slices, columns, axis) {
  if (axis === 2) return { planes: slices, width: columns };
  const { at, width, count } = layout(slices, columns, axis);
  const planes = Array.from({ length: count }, () => new Uint8Array(width * slices.length));
  slices.forEach((slice, place) => {
    for (let plane = 0; plane < count; plane += 1)
      for (let step = 0; step < width; step += 1) planes[plane][place * width + step] = slice[at(plane, step)];
  });
  return { planes, width };
}

/** The slices that change when planes across an axis are written: both are Maps from places to voxels. */
export function slicesOf(written, slices, columns, axis) {
  if (axis === 2) return written;
  const { at, width } = layout(slices, columns, axis);
  const changed = new Map();
  for (const [plane, voxels] of written)
    slices.forEach((slice, place) => {
      for (let step = 0; step < width; step += 1) {
        const value = voxels[place * width + step];
        if (value === slice[at(plane, step)]) continue;
        if (!changed.has(place)) changed.set(place, slice.slice());
        changed.get(place)[at(plane, step)] = value;
      }
    });
  return changed;
}
