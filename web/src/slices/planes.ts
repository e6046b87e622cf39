/** Planes through a grid whose axes run along the patient's: which voxel axis goes across and down the screen, and what
 * the edges are called. Everything follows from the affine (voxel index to LPS mm), nothing from habit. */

import type { Matrix, Triple } from "../api";

export type PlaneName = "axial" | "coronal" | "sagittal";
export const PLANES: PlaneName[] = ["axial", "coronal", "sagittal"];

/** LPS axis across the screen (left to right), down the screen, and through it, with their directions: radiological
 * view (the patient's right on the left), head up, sagittal with the face to the left. */
const SCREEN: Record<PlaneName, { across: [number, number]; down: [number, number]; through: number }> = {
  axial: { across: [0, 1], down: [1, 1], through: 2 },
  coronal: { across: [0, 1], down: [2, -1], through: 1 },
  sagittal: { across: [1, 1], down: [2, -1], through: 0 },
};

/** Letters of the positive and negative end of each LPS axis. */
const LETTERS: [positive: string, negative: string][] = [
  ["L", "R"],
  ["P", "A"],
  ["S", "I"],
];

export interface Axis {
  /** Index of the voxel axis: 0 slices, 1 rows, 2 columns. */
  voxel: 0 | 1 | 2;
  /** Whether the voxel index falls as one goes right (or down) on the screen. */
  flipped: boolean;
  size: number;
  mm: number;
}

export interface Plane {
  name: PlaneName;
  across: Axis;
  down: Axis;
  through: Axis;
  letters: { left: string; right: string; top: string; bottom: string };
}

export function planeOf(name: PlaneName, shape: Triple, affine: Matrix): Plane {
  const screen = SCREEN[name];
  const across = axisAlong(screen.across[0], screen.across[1], shape, affine);
  const down = axisAlong(screen.down[0], screen.down[1], shape, affine);
  const through = axisAlong(screen.through, 1, shape, affine);
  const [left, right] = ends(across, affine);
  const [top, bottom] = ends(down, affine);
  return { name, across, down, through, letters: { left, right, top, bottom } };
}

/** The voxel axis that runs most along an LPS axis. */
function axisAlong(lps: number, sign: number, shape: Triple, affine: Matrix): Axis {
  const row = affine[lps] as number[];
  const voxel = [0, 1, 2].reduce((best, i) => (Math.abs(row[i] as number) > Math.abs(row[best] as number) ? i : best), 0) as 0 | 1 | 2;
  const step = row[voxel] as number;
  return { voxel, flipped: Math.sign(step) !== sign, size: shape[voxel], mm: Math.hypot(...[0, 1, 2].map((r) => (affine[r] as number[])[voxel] as number)) };
}

/** The letters at the start and the end of a screen axis, read from where its voxels lie in the patient. */
function ends(axis: Axis, affine: Matrix): [string, string] {
  const steps = [0, 1, 2].map((r) => (affine[r] as number[])[axis.voxel] as number);
  const along = steps.reduce((best, value, i) => (Math.abs(value) > Math.abs(steps[best] as number) ? i : best), 0);
  const [positive, negative] = LETTERS[along] as [string, string];
  const grows = (steps[along] as number) > 0 !== axis.flipped;
  return grows ? [negative, positive] : [positive, negative];
}

export function screenIndex(axis: Axis, voxelIndex: number): number {
  return axis.flipped ? axis.size - 1 - voxelIndex : voxelIndex;
}

/** LPS mm of a voxel (slice, row, column). */
export function toLps(affine: Matrix, voxel: Triple): Triple {
  return [0, 1, 2].map((r) => {
    const row = affine[r] as number[];
    return (row[0] as number) * voxel[0] + (row[1] as number) * voxel[1] + (row[2] as number) * voxel[2] + (row[3] as number);
  }) as Triple;
}

/** Voxel (slice, row, column) of a place in LPS mm; the grid's axes are perpendicular. */
export function toVoxel(affine: Matrix, lps: Triple): Triple {
  const offset = [0, 1, 2].map((r) => (lps[r] as number) - ((affine[r] as number[])[3] as number));
  return [0, 1, 2].map((c) => {
    const column = [0, 1, 2].map((r) => (affine[r] as number[])[c] as number);
    const length2 = column.reduce((sum, v) => sum + v * v, 0);
    return column.reduce((sum, v, r) => sum + v * (offset[r] as number), 0) / length2;
  }) as Triple;
}

/** A place in LPS mm moved by a rigid 4 x 4 matrix. */
export function moved(matrix: Matrix, lps: Triple): Triple {
  return toLps(matrix, lps);
}
