// How large the segments of a label map are: their volume, and their longest diameter in a slice.

/** A slice's segments: how many voxels each has, and the corners of its rows' ends. */
function sliceOf(voxels, columns) {
  const found = new Map();
  for (let index = 0; index < voxels.length; index += 1) {
    const segment = voxels[index];
    if (!segment) continue;
    const row = Math.floor(index / columns);
    const column = index - row * columns;
    let entry = found.get(segment);
    if (!entry) found.set(segment, (entry = { count: 0, sums: [0, 0], rows: new Map() }));
    entry.count += 1;
    entry.sums[0] += column;
    entry.sums[1] += row;
    const ends = entry.rows.get(row);
    if (ends) ends[1] = column;
    else entry.rows.set(row, [column, column]);
  }
  return found;
}

/** The corners of the convex hull of points that are ordered by rows (A. M. Andrew's monotone chain, 1979). */
function hull(points) {
  const half = list => {
    const chain = [];
    for (const [x, y] of list) {
      while (chain.length > 1) {
        const [[ax, ay], [bx, by]] = chain.slice(-2);
        if ((bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0) break;
        chain.pop();
      }
      chain.push([x, y]);
    }
    return chain;
  };
  return [...half(points), ...half([...points].reverse())];
}

/** The longest distance in millimetres between two voxels of a slice, from edge to edge along it. */
function longest(rows, [width, height]) {
  const ends = [...rows].flatMap(([row, [first, last]]) => [
    [row * height, first * width],
    [row * height, last * width],
  ]);
  const corners = hull(ends);
  let most = 0;
  for (let one = 0; one < corners.length; one += 1)
    for (let other = one; other < corners.length; other += 1)
      most = Math.max(most, Math.hypot(corners[one][0] - corners[other][0], corners[one][1] - corners[other][1]));
  return most + (width + height) / 2;
}

/** Sizes of all segments, kept up to date slice by slice. */
export class Measures {
  constructor({ dimensions, spacing }) {
    this.columns = dimensions[0];
    this.spacing = spacing;
    this.slices = new Map();
  }

  /** Look at a slice anew. */
  update(place, voxels) {
    const found = new Map();
    for (const [segment, { count, sums, rows }] of sliceOf(voxels, this.columns))
      found.set(segment, { count, center: sums.map(sum => sum / count), diameter: longest(rows, this.spacing) });
    if (found.size) this.slices.set(place, found);
    else this.slices.delete(place);
  }

  /** A segment's voxels, volume (ml), diameter (mm) and the centre of its largest slice (i, j, k); none if empty. */
  of(segment) {
    let [voxels, diameter, most, center] = [0, 0, 0, null];
    for (const [place, found] of this.slices) {
      const here = found.get(segment);
      if (!here) continue;
      voxels += here.count;
      diameter = Math.max(diameter, here.diameter);
      if (here.count > most) [most, center] = [here.count, [...here.center, place]];
    }
    const [x, y, z] = this.spacing;
    return voxels ? { voxels, volume: (voxels * x * y * z) / 1000, diameter, center } : undefined;
  }

  /** The segments that are not empty, in order. */
  present() {
    return [...new Set([...this.slices.values()].flatMap(found => [...found.keys()]))].sort((a, b) => a - b);
  }
}
