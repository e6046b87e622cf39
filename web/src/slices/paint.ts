/** One plane of voxels as pixels: grey values by window, compartments as fill or contour, or the change between two. */

import type { Triple } from "../api";
import type { Plane } from "./planes";
import type { Voxels } from "./volume";

export interface Look {
  /** Window in scanner units. */
  low: number;
  high: number;
  opacity: number;
  contour: boolean;
  hidden: Set<number>;
}

/** Colours of the labels 1 to 4 on black, the same in light and dark. */
export const LABEL_COLOURS: Record<number, [number, number, number]> = {
  1: [240, 205, 70],
  2: [80, 185, 230],
  3: [255, 85, 110],
  4: [178, 150, 245],
};

/** Offsets into the voxel array of a plane at one slice: start, step across, step down. */
export function strides(plane: Plane, shape: Triple, at: number): { start: number; across: number; down: number } {
  const step = [shape[1] * shape[2], shape[2], 1];
  const across = (step[plane.across.voxel] as number) * (plane.across.flipped ? -1 : 1);
  const down = (step[plane.down.voxel] as number) * (plane.down.flipped ? -1 : 1);
  let start = at * (step[plane.through.voxel] as number);
  if (plane.across.flipped) start -= across * (plane.across.size - 1);
  if (plane.down.flipped) start -= down * (plane.down.size - 1);
  return { start, across, down };
}

export function paint(image: ImageData, plane: Plane, at: number, voxels: Voxels, labels: Voxels | null, look: Look): void {
  const { start, across, down } = strides(plane, voxels.shape, at);
  const pixels = new Uint32Array(image.data.buffer);
  const { width, height } = image;
  const low = look.low / voxels.slope;
  const scale = 255 / Math.max(1e-6, (look.high - look.low) / voxels.slope);
  const data = voxels.data;
  for (let y = 0, i = 0; y < height; y += 1) {
    let at2 = start + y * down;
    for (let x = 0; x < width; x += 1, i += 1, at2 += across) {
      const value = ((data[at2] as number) - low) * scale;
      const grey = value <= 0 ? 0 : value >= 255 ? 255 : value | 0;
      pixels[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
  }
  if (labels && look.opacity > 0) overlay(image, labels, start, across, down, look);
}

/** Intensity of `voxels` minus that of `reference`, each scaled to its own window: red more, blue less. */
export function paintChange(image: ImageData, plane: Plane, at: number, voxels: Voxels, reference: Voxels, labels: Voxels | null, look: Look): void {
  const { start, across, down } = strides(plane, voxels.shape, at);
  const scaled = (v: Voxels): [number, number] => [v.slope / (v.window[1] - v.window[0]), v.window[0] / (v.window[1] - v.window[0])];
  const [a, a0] = scaled(voxels);
  const [b, b0] = scaled(reference);
  const out = image.data;
  const { width, height } = image;
  for (let y = 0, i = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, i += 4) {
      const at2 = start + x * across + y * down;
      const change = (voxels.data[at2] as number) * a - a0 - ((reference.data[at2] as number) * b - b0);
      const strength = Math.min(255, Math.abs(change) * 510);
      out[i] = change > 0 ? strength : strength * 0.25;
      out[i + 1] = strength * 0.35;
      out[i + 2] = change > 0 ? strength * 0.25 : strength;
      out[i + 3] = 255;
    }
  }
  if (labels && look.opacity > 0) overlay(image, labels, start, across, down, { ...look, contour: true });
}

function overlay(image: ImageData, labels: Voxels, start: number, across: number, down: number, look: Look): void {
  const out = image.data;
  const data = labels.data;
  const { width, height } = image;
  const keep = 1 - look.opacity;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = start + x * across + y * down;
      const label = data[at] as number;
      if (label === 0 || look.hidden.has(label)) continue;
      const edge = x === 0 || y === 0 || x === width - 1 || y === height - 1;
      if (look.contour && !edge && data[at - across] === label && data[at + across] === label && data[at - down] === label && data[at + down] === label) continue;
      const colour = LABEL_COLOURS[label] ?? [255, 255, 255];
      const i = (y * width + x) * 4;
      const share = look.contour ? Math.max(0.85, look.opacity) : look.opacity;
      const rest = look.contour ? 1 - share : keep;
      out[i] = (out[i] as number) * rest + colour[0] * share;
      out[i + 1] = (out[i + 1] as number) * rest + colour[1] * share;
      out[i + 2] = (out[i + 2] as number) * rest + colour[2] * share;
    }
  }
}
