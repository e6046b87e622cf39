/** What all panes of the slice viewer share: the place of the crosshair, the look, the zoom; and who is told of changes. */

import type { Triple, Volume } from "../api";
import type { Look } from "./paint";
import type { Voxels } from "./volume";

export interface TimePointImages {
  title: string;
  volume: Volume;
  voxels: Voxels | null;
  labels: Voxels | null;
}

export interface Scene {
  /** Crosshair: voxel (slice, row, column) of the patient's grid, the same in every pane. */
  cross: Triple;
  look: Look;
  zoom: number;
  /** Shift in millimetres of the screen. */
  pan: [number, number];
  diameters: boolean;
  change: boolean;
}

export type Listener = () => void;

export class Shared {
  private readonly listeners = new Set<Listener>();
  private waiting = false;
  /** Milliseconds from an input to the frame that shows it, newest last; for those who measure. */
  readonly latencies: number[] = [];
  private asked = 0;

  constructor(readonly scene: Scene) {}

  listen(listener: Listener): void {
    this.listeners.add(listener);
  }

  forget(): void {
    this.listeners.clear();
  }

  /** Have everything drawn at the next frame, once however often it is asked for. */
  redraw(): void {
    if (this.waiting) return;
    this.waiting = true;
    this.asked = performance.now();
    requestAnimationFrame(() => {
      this.waiting = false;
      for (const listener of this.listeners) listener();
      this.latencies.push(performance.now() - this.asked);
      if (this.latencies.length > 500) this.latencies.shift();
    });
  }

  moveTo(voxel: Triple, shape: Triple): void {
    this.scene.cross = voxel.map((v, i) => Math.min((shape[i] as number) - 1, Math.max(0, Math.round(v)))) as Triple;
    this.redraw();
  }

  scroll(axis: 0 | 1 | 2, steps: number, size: number): void {
    const next = [...this.scene.cross] as Triple;
    next[axis] = Math.min(size - 1, Math.max(0, next[axis] + steps));
    this.scene.cross = next;
    this.redraw();
  }

  window(factor: number, shift: number): void {
    const { look } = this.scene;
    const width = Math.max(1e-3, (look.high - look.low) * factor);
    const centre = (look.high + look.low) / 2 + shift * (look.high - look.low);
    look.low = centre - width / 2;
    look.high = centre + width / 2;
    this.redraw();
  }

  zoomBy(factor: number): void {
    this.scene.zoom = Math.min(12, Math.max(0.5, this.scene.zoom * factor));
    this.redraw();
  }
}
