// Label maps as the browser, the label server and their files have them: voxels, and the grid they lie on.

/** From voxel (i, j, k) to millimetres: a row each for left, posterior and superior. */
function grid({ direction, spacing, origin }) {
  return [0, 1, 2].map(row => [...[0, 1, 2].map(axis => direction[3 * axis + row] * spacing[axis]), origin[row]]);
}

// Loops where a CT has a hundred million voxels: a function for each would take a second.

/** The voxels with each value looked up; one that is not listed becomes 0. */
export function translated(voxels, values) {
  const table = Uint8Array.from({ length: 256 }, (_, value) => values[value] ?? 0);
  const result = new Uint8Array(voxels.length);
  for (let place = 0; place < voxels.length; place += 1) result[place] = table[voxels[place]];
  return result;
}

/** The values that occur, background aside. */
export function valuesOf(voxels) {
  const seen = new Uint8Array(256);
  for (let place = 0; place < voxels.length; place += 1) seen[voxels[place]] = 1;
  return [...seen.keys()].filter(value => value && seen[value]);
}

/** A file of the volume's size and place with these voxels, as NRRD: it says its grid in DICOM's own coordinates. */
export async function toNrrd(volume, voxels) {
  const rows = grid(volume);
  const column = number => `(${rows.map(row => row[number]).join(",")})`;
  const header = [
    "NRRD0004",
    "type: uint8",
    "dimension: 3",
    "space: left-posterior-superior",
    `sizes: ${volume.dimensions.join(" ")}`,
    `space directions: ${[0, 1, 2].map(column).join(" ")}`,
    `space origin: ${column(3)}`,
    "encoding: gzip",
  ];
  const zipped = new Blob([voxels]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Blob([`${header.join("\n")}\n\n`, await new Response(zipped).blob()]);
}

/** The voxels of a NIfTI file as the label server writes it: gzip, unsigned bytes, little endian.
 *
 * Throws if it does not lie on the volume's grid.
 */
export async function fromNifti(body, volume) {
  const file = await new Response(body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  const header = new DataView(file);
  // The format counts to the right and to the front, DICOM to the left and to the back.
  const rows = [280, 296, 312].map((start, row) =>
    [0, 4, 8, 12].map(offset => header.getFloat32(start + offset, true) * (row < 2 ? -1 : 1)),
  );
  const here = grid(volume).flat();
  const near = rows.flat().every((value, place) => Math.abs(value - here[place]) < 0.01);
  const fits = volume.dimensions.every((length, axis) => header.getInt16(42 + 2 * axis, true) === length);
  if (!near || !fits) throw new Error("it lies on another grid");
  return new Uint8Array(file, header.getFloat32(108, true));
}
