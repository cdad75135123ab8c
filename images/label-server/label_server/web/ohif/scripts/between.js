// A segment in the slices between those that are painted: their shapes blend into each other (shape-based
// interpolation: S. P. Raya, J. K. Udupa, IEEE Transactions on Medical Imaging 9, 1990), as they lie, and each moved
// onto the line between their centres, since a vessel runs aslant. Cornerstone's own fetches its program from another
// host.

const FAR = 1e9;

/** Squared distance along a line to the nearest place with 0, where the line has 0 or FAR (P. Felzenszwalb, 2012). */
function along(line) {
  const vertices = [0];
  const starts = [-Infinity, Infinity];
  for (let place = 1; place < line.length; place += 1) {
    let start = 0;
    for (;;) {
      const last = vertices.at(-1);
      start = (line[place] + place * place - line[last] - last * last) / (2 * (place - last));
      if (start > starts[vertices.length - 1]) break;
      vertices.pop();
      starts.pop();
    }
    starts[vertices.length] = start;
    starts[vertices.length + 1] = Infinity;
    vertices.push(place);
  }
  const result = new Float64Array(line.length);
  for (let place = 0, vertex = 0; place < line.length; place += 1) {
    while (starts[vertex + 1] < place) vertex += 1;
    result[place] = (place - vertices[vertex]) ** 2 + line[vertices[vertex]];
  }
  return result;
}

/** Distance in pixels to the nearest pixel where `is` says yes, in a field of some width and height. */
function distance(width, height, is) {
  const field = Float64Array.from({ length: width * height }, (_, at) => (is(at) ? 0 : FAR));
  for (let column = 0; column < width; column += 1) {
    const line = along(Float64Array.from({ length: height }, (_, row) => field[row * width + column]));
    line.forEach((value, row) => (field[row * width + column] = value));
  }
  for (let row = 0; row < height; row += 1)
    field.set(along(field.subarray(row * width, (row + 1) * width)), row * width);
  return field.map(Math.sqrt);
}

const within = (place, count) => Math.min(Math.max(place, 0), count - 1);

/** A segment in a slice: its box, its centre, and how deep in it (more than 0) or far from it a pixel is. */
function shape(slice, columns, segment) {
  const places = [];
  slice.forEach((value, at) => value === segment && places.push([at % columns, Math.floor(at / columns)]));
  const [xs, ys] = [places.map(([x]) => x), places.map(([, y]) => y)];
  const least = list => list.reduce((a, b) => Math.min(a, b));
  const most = list => list.reduce((a, b) => Math.max(a, b));
  const mean = list => list.reduce((a, b) => a + b) / list.length;
  const box = { left: least(xs), right: most(xs), top: least(ys), bottom: most(ys) };
  const margin = Math.ceil(Math.max(box.right - box.left, box.bottom - box.top) / 2) + 2;
  const [left, top] = [box.left - margin, box.top - margin];
  const [width, height] = [box.right - left + margin + 1, box.bottom - top + margin + 1];
  const inside = new Uint8Array(width * height);
  for (const [x, y] of places) inside[(y - top) * width + x - left] = 1;
  const toIt = distance(width, height, at => inside[at]);
  const outOf = distance(width, height, at => !inside[at]);
  const depth = (x, y) => {
    const [column, row] = [Math.round(x) - left, Math.round(y) - top];
    const [nearColumn, nearRow] = [within(column, width), within(row, height)];
    const at = nearRow * width + nearColumn;
    return inside[at] ? outOf[at] - 0.5 : 0.5 - toIt[at] - Math.hypot(column - nearColumn, row - nearRow);
  };
  return { box, center: [mean(xs), mean(ys)], depth };
}

/** What lies a part of the way from one shape to another, as a test of a pixel and a box around it. */
function blend(one, other, part) {
  const mix = (a, b) => a + (b - a) * part;
  const center = [0, 1].map(axis => mix(one.center[axis], other.center[axis]));
  const moved = (it, x, y) => it.depth(x - center[0] + it.center[0], y - center[1] + it.center[1]);
  const reach = (low, high, axis) => {
    const shifts = [one, other].map(it => center[axis] - it.center[axis]);
    const ends = [one.box, other.box].flatMap((box, at) => [box[low], box[high], box[low] + shifts[at], box[high] + shifts[at]]);
    return [Math.floor(Math.min(...ends)), Math.ceil(Math.max(...ends))];
  };
  const has = (x, y) =>
    mix(moved(one, x, y), moved(other, x, y)) >= 0 || mix(one.depth(x, y), other.depth(x, y)) >= 0;
  return { columns: reach("left", "right", 0), rows: reach("top", "bottom", 1), has };
}

/**
 * Fill a segment in the slices between those that have it; other segments stay.
 *
 * `slices` are in order, row by row, with so many columns. Gives the slices that change, by their places.
 */
export function between(slices, columns, segment) {
  const has = [...slices.keys()].filter(place => slices[place].includes(segment));
  const written = new Map();
  has.slice(1).forEach((end, index) => {
    const start = has[index];
    if (end - start < 2) return;
    const [one, other] = [shape(slices[start], columns, segment), shape(slices[end], columns, segment)];
    for (let place = start + 1; place < end; place += 1) {
      const { columns: [left, right], rows: [top, bottom], has: inside } = blend(one, other, (place - start) / (end - start));
      const slice = slices[place].slice();
      const last = slice.length / columns - 1;
      for (let row = Math.max(0, top); row <= Math.min(last, bottom); row += 1)
        for (let column = Math.max(0, left); column <= Math.min(columns - 1, right); column += 1)
          if (!slice[row * columns + column] && inside(column, row)) slice[row * columns + column] = segment;
      if (slice.some((value, at) => value !== slices[place][at])) written.set(place, slice);
    }
  });
  return written;
}
