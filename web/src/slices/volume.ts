/** Voxels that come slice by slice: the middle first, then outwards, so that there is something to see at once. */

import { ask } from "../api";
import type { Matrix, Triple } from "../api";

const CHUNK = 12;
const PARALLEL = 2;
const ATTEMPTS = 4;

export interface Voxels {
  shape: Triple;
  affine: Matrix;
  data: Int16Array | Uint8Array;
  slope: number;
  window: [number, number];
  /** Slices that have come. */
  there: Uint8Array;
  complete: boolean;
}

type Kind = "int16" | "uint8";

/** Start to read; `onSlices` is called whenever more has come. The promise resolves when the first slices are there. */
export async function openVoxels(url: string, shape: Triple, affine: Matrix, kind: Kind, onSlices: () => void, signal: AbortSignal): Promise<Voxels> {
  const [slices, rows, columns] = shape;
  const bytes = kind === "int16" ? 2 : 1;
  const buffer = new ArrayBuffer(slices * rows * columns * bytes);
  const data = kind === "int16" ? new Int16Array(buffer) : new Uint8Array(buffer);
  const voxels: Voxels = { shape, affine, data, slope: 1, window: [0, 1], there: new Uint8Array(slices), complete: false };
  const sliceBytes = rows * columns * bytes;
  const pending = chunks(slices);
  const one = async (): Promise<void> => {
    const [from, to] = pending.shift() as [number, number];
    const headers = { Range: `bytes=${from * sliceBytes}-${to * sliceBytes - 1}` };
    const answer = await fetchRange(url, headers, signal);
    readFacts(voxels, answer.headers);
    new Uint8Array(buffer).set(new Uint8Array(await answer.arrayBuffer()), from * sliceBytes);
    voxels.there.fill(1, from, to);
    voxels.complete = voxels.there.every(Boolean);
    onSlices();
  };
  await one();
  const worker = async (): Promise<void> => {
    while (pending.length > 0 && !signal.aborted) await one();
  };
  void Promise.all(Array.from({ length: PARALLEL }, worker)).catch((error: unknown) => {
    if (!signal.aborted) console.warn("slices did not come", error);
  });
  return voxels;
}

async function fetchRange(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      return await ask("GET", url, undefined, headers);
    } catch (error) {
      // fetch tells a lost connection as a TypeError; what the gateway refused is not asked again.
      if (!(error instanceof TypeError) || attempt === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, 400 * attempt));
    }
  }
}

/** Ranges of slices from the middle outwards. */
function chunks(slices: number): [number, number][] {
  const made: [number, number][] = [];
  for (let from = 0; from < slices; from += CHUNK) made.push([from, Math.min(slices, from + CHUNK)]);
  const middle = slices / 2;
  return made.sort((a, b) => Math.abs((a[0] + a[1]) / 2 - middle) - Math.abs((b[0] + b[1]) / 2 - middle));
}

function readFacts(voxels: Voxels, headers: Headers): void {
  voxels.slope = Number(headers.get("Timepoint-Slope") ?? 1);
  const window = headers.get("Timepoint-Window");
  if (window) voxels.window = JSON.parse(window) as [number, number];
}
