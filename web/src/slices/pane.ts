/** One plane of one time point on a canvas, with crosshair, diameters, letters, and what mouse, touch and keys do. */

import type { Triple } from "../api";
import { el } from "../dom";
import { t } from "../i18n";
import { paint, paintChange } from "./paint";
import { moved, planeOf, screenIndex, toVoxel } from "./planes";
import type { Plane, PlaneName } from "./planes";
import type { Shared, TimePointImages } from "./scene";

const NEAR_MM = 4;

export class Pane {
  readonly node: HTMLElement;
  readonly canvas = el("canvas", { tabindex: "0", role: "img" });
  private readonly plane: Plane;
  private readonly buffer = document.createElement("canvas");
  private readonly value = el("span", { class: "value" });
  private image: ImageData;
  private readonly pointers = new Map<number, [number, number]>();
  private button = 0;
  private readonly observer: ResizeObserver;

  constructor(
    name: PlaneName,
    private readonly images: TimePointImages,
    private readonly reference: TimePointImages | null,
    private readonly shared: Shared,
  ) {
    const { shape, affine_lps } = images.volume.grid;
    this.plane = planeOf(name, shape, affine_lps);
    this.buffer.width = this.plane.across.size;
    this.buffer.height = this.plane.down.size;
    this.image = new ImageData(this.buffer.width, this.buffer.height);
    const { left, right, top, bottom } = this.plane.letters;
    this.canvas.setAttribute("aria-label", `${t(name)} ${images.title}: ${t("pane-keys")}`);
    this.node = el(
      "div",
      { class: "pane", "data-plane": name },
      this.canvas,
      el("span", { class: "title" }, `${images.title} - ${t(name)}`),
      el("span", { class: "left" }, left),
      el("span", { class: "right" }, right),
      el("span", { class: "top" }, top),
      el("span", { class: "bottom" }, bottom),
      this.value,
    );
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.node);
    shared.listen(() => this.draw());
    this.listen();
  }

  stop(): void {
    this.observer.disconnect();
  }

  /** Screen pixels of one screen millimetre, and where the image's corner lies. */
  private layout(): { scale: number; x: number; y: number; ratio: number } {
    const ratio = devicePixelRatio;
    const [w, h] = [this.node.clientWidth * ratio, this.node.clientHeight * ratio];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
    }
    const { zoom, pan } = this.shared.scene;
    const [mmWide, mmHigh] = [this.plane.across.size * this.plane.across.mm, this.plane.down.size * this.plane.down.mm];
    const scale = Math.min(w / mmWide, h / mmHigh) * zoom;
    return { scale, x: (w - mmWide * scale) / 2 + pan[0] * scale, y: (h - mmHigh * scale) / 2 + pan[1] * scale, ratio };
  }

  draw(): void {
    const { voxels, labels } = this.images;
    const context = this.canvas.getContext("2d");
    if (!context || this.node.clientWidth === 0) return;
    const { scale, x, y, ratio } = this.layout();
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    const { cross, look, change } = this.shared.scene;
    const at = cross[this.plane.through.voxel];
    if (voxels) {
      const other = change && this.reference?.voxels && this.reference !== this.images ? this.reference.voxels : null;
      if (other) paintChange(this.image, this.plane, at, voxels, other, labels, look);
      else paint(this.image, this.plane, at, voxels, labels, look);
      this.buffer.getContext("2d")?.putImageData(this.image, 0, 0);
      context.imageSmoothingEnabled = !look.contour || scale < 3;
      context.drawImage(this.buffer, x, y, this.plane.across.size * this.plane.across.mm * scale, this.plane.down.size * this.plane.down.mm * scale);
    }
    this.drawCross(context, scale, x, y, ratio);
    if (this.shared.scene.diameters) this.drawDiameters(context, scale, x, y, ratio, at);
    this.say(at);
  }

  private place(voxel: Triple, scale: number, x: number, y: number): [number, number] {
    const { across, down } = this.plane;
    return [x + (screenIndex(across, voxel[across.voxel]) + 0.5) * across.mm * scale, y + (screenIndex(down, voxel[down.voxel]) + 0.5) * down.mm * scale];
  }

  private drawCross(context: CanvasRenderingContext2D, scale: number, x: number, y: number, ratio: number): void {
    const [cx, cy] = this.place(this.shared.scene.cross, scale, x, y);
    const gap = 8 * ratio;
    context.strokeStyle = "#7fd6a0aa";
    context.lineWidth = ratio;
    context.beginPath();
    for (const [x1, y1, x2, y2] of [
      [0, cy, cx - gap, cy],
      [cx + gap, cy, this.canvas.width, cy],
      [cx, 0, cx, cy - gap],
      [cx, cy + gap, cx, this.canvas.height],
    ] as const) {
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
    }
    context.stroke();
  }

  /** Diameters were drawn in the study's own slices; they are shown where both ends lie near this plane. */
  private drawDiameters(context: CanvasRenderingContext2D, scale: number, x: number, y: number, ratio: number, at: number): void {
    const { volume } = this.images;
    context.strokeStyle = "#ffe27a";
    context.fillStyle = "#ffe27a";
    context.lineWidth = 1.5 * ratio;
    context.font = `${12 * ratio}px system-ui`;
    for (const line of volume.lesions.flatMap((lesion) => lesion.diameters)) {
      const [a, b] = [line.start, line.end].map((p) => toVoxel(volume.grid.affine_lps, moved(volume.to_frame, p))) as [Triple, Triple];
      const axis = this.plane.through.voxel;
      if (Math.max(Math.abs(a[axis] - at), Math.abs(b[axis] - at)) * this.plane.through.mm > NEAR_MM) continue;
      const [p, q] = [this.place(a, scale, x, y), this.place(b, scale, x, y)];
      context.beginPath();
      context.moveTo(...p);
      context.lineTo(...q);
      context.stroke();
      context.fillText(`${line.length_mm.toFixed(1)} mm`, q[0] + 4 * ratio, q[1]);
    }
  }

  private say(at: number): void {
    const { cross } = this.shared.scene;
    const { voxels } = this.images;
    const [, rows, columns] = this.images.volume.grid.shape;
    const index = cross[0] * rows * columns + cross[1] * columns + cross[2];
    const grey = voxels ? Math.round((voxels.data[index] ?? 0) * voxels.slope) : "";
    const there = voxels ? `${Math.round((100 * voxels.there.reduce((sum, v) => sum + v, 0)) / voxels.there.length)} %` : t("loading");
    this.value.textContent = `${at + 1}/${this.plane.through.size}  ${grey}${voxels?.complete ? "" : `  ${there}`}`;
  }

  private listen(): void {
    const { canvas, shared } = this;
    const through = this.plane.through;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        if (event.ctrlKey) shared.zoomBy(event.deltaY < 0 ? 1.12 : 1 / 1.12);
        else shared.scroll(through.voxel, event.deltaY > 0 ? -1 : 1, through.size);
      },
      { passive: false },
    );
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      this.button = event.shiftKey || event.button === 2 ? 2 : event.button;
      if (this.button === 0 && this.pointers.size === 1) this.crossTo(event);
    });
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"] as const) canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("keydown", (event) => {
      if (this.key(event.key)) event.preventDefault();
    });
  }

  private drag(event: PointerEvent): void {
    const from = this.pointers.get(event.pointerId);
    if (!from) return;
    const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    const other = others[0];
    if (other) {
      const before = Math.hypot(from[0] - other[0], from[1] - other[1]);
      const now = Math.hypot(event.clientX - other[0], event.clientY - other[1]);
      if (before > 10) this.shared.zoomBy(now / before);
    } else if (this.button === 2) this.shared.window(Math.exp(dx / 200), dy / 400);
    else if (this.button === 1) {
      const { scale, ratio } = this.layout();
      const { pan } = this.shared.scene;
      this.shared.scene.pan = [pan[0] + (dx * ratio) / scale, pan[1] + (dy * ratio) / scale];
      this.shared.redraw();
    } else this.crossTo(event);
  }

  private crossTo(event: PointerEvent): void {
    const box = this.canvas.getBoundingClientRect();
    const { scale, x, y, ratio } = this.layout();
    const { across, down } = this.plane;
    const next = [...this.shared.scene.cross] as Triple;
    next[across.voxel] = screenIndex(across, Math.floor(((event.clientX - box.left) * ratio - x) / scale / across.mm));
    next[down.voxel] = screenIndex(down, Math.floor(((event.clientY - box.top) * ratio - y) / scale / down.mm));
    this.shared.moveTo(next, this.images.volume.grid.shape);
  }

  private key(key: string): boolean {
    const { shared } = this;
    const { through, across, down } = this.plane;
    const acts: Record<string, () => void> = {
      PageUp: () => shared.scroll(through.voxel, 1, through.size),
      PageDown: () => shared.scroll(through.voxel, -1, through.size),
      ArrowLeft: () => shared.scroll(across.voxel, across.flipped ? 1 : -1, across.size),
      ArrowRight: () => shared.scroll(across.voxel, across.flipped ? -1 : 1, across.size),
      ArrowUp: () => shared.scroll(down.voxel, down.flipped ? 1 : -1, down.size),
      ArrowDown: () => shared.scroll(down.voxel, down.flipped ? -1 : 1, down.size),
      "+": () => shared.zoomBy(1.2),
      "-": () => shared.zoomBy(1 / 1.2),
      "[": () => shared.window(1 / 1.15, 0),
      "]": () => shared.window(1.15, 0),
      "{": () => shared.window(1, 0.05),
      "}": () => shared.window(1, -0.05),
    };
    acts[key]?.();
    return key in acts;
  }
}
