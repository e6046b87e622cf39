/** Surfaces in Three.js. glTF axes: X the patient's left, Y the head, Z the front, metres. */

import {
  AmbientLight,
  Box3,
  Color,
  DirectionalLight,
  DoubleSide,
  Group,
  Mesh,
  MeshStandardMaterial,
  PerspectiveCamera,
  Plane,
  Scene,
  Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { el } from "../dom";
import { t } from "../i18n";

const COLOURS: Record<string, number> = {
  brain: 0xb8c0c8,
  necrotic: 0xf0cd46,
  oedema: 0x50b9e6,
  enhancing: 0xff556e,
  cavity: 0xb296f5,
  forecast: 0xc9a4ea,
};
/** Directions of the patient's axes in glTF. */
const SIDES = { L: [1, 0, 0], R: [-1, 0, 0], S: [0, 1, 0], I: [0, -1, 0], A: [0, 0, 1], P: [0, 0, -1] } as const;
export type Side = keyof typeof SIDES;

export interface SurfaceScene {
  add(name: string, glb: ArrayBuffer, opacity: number, colour?: string): Promise<void>;
  replace(name: string, glb: ArrayBuffer, opacity: number, colour?: string): Promise<void>;
  drop(name: string): void;
  show(name: string, on: boolean): void;
  fade(name: string, opacity: number): void;
  opacityOf(name: string): number;
  frame(): void;
  view(side: Side): void;
  clip(share: number): void;
  picture(): string;
  /** Where the letters of the patient's sides stand on the screen now, in pixels. */
  letters(): Record<Side, [number, number]>;
  /** Where the middle of a part stands on the screen now, in pixels. */
  placeOf(name: string): [number, number];
  stop(): void;
}

export function openSurfaceScene(stage: HTMLElement): SurfaceScene {
  return new ThreeScene(stage);
}

class ThreeScene implements SurfaceScene {
  private readonly renderer: WebGLRenderer;
  private readonly scene = new Scene();
  private readonly camera = new PerspectiveCamera(35, 1, 0.01, 5);
  private readonly controls: OrbitControls;
  private readonly parts = new Map<string, Group>();
  private readonly loader = new GLTFLoader();
  private readonly plane = new Plane(new Vector3(0, 0, -1), 1);
  private readonly marks = new Map<Side, HTMLElement>();
  private readonly observer: ResizeObserver;
  private box = new Box3();
  private waiting = false;

  constructor(private readonly stage: HTMLElement) {
    this.renderer = new WebGLRenderer({ antialias: true, preserveDrawingBuffer: true });
    this.renderer.setClearColor(new Color(0x0b0f14));
    this.renderer.setPixelRatio(Math.min(2, devicePixelRatio));
    const canvas = this.renderer.domElement;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", t("solid-label"));
    stage.prepend(canvas);
    this.scene.add(new AmbientLight(0xffffff, 1.1), this.camera);
    const lamp = new DirectionalLight(0xffffff, 2.2);
    lamp.position.set(0.3, 0.5, 1);
    this.camera.add(lamp);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.addEventListener("change", () => this.redraw());
    canvas.addEventListener("keydown", (event) => this.key(event));
    for (const side of Object.keys(SIDES) as Side[]) {
      const mark = el("span", { class: "letter", "aria-hidden": "true" }, side);
      this.marks.set(side, mark);
      stage.append(mark);
    }
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(stage);
    this.resize();
  }

  async add(name: string, glb: ArrayBuffer, opacity: number, colour = name): Promise<void> {
    const loaded = await this.loader.parseAsync(glb, "");
    const material = new MeshStandardMaterial({
      color: COLOURS[colour] ?? 0xffffff,
      roughness: 0.65,
      transparent: opacity < 1,
      opacity,
      depthWrite: opacity > 0.5,
      side: DoubleSide,
      clippingPlanes: [this.plane],
    });
    this.renderer.localClippingEnabled = true;
    loaded.scene.traverse((each) => {
      if (each instanceof Mesh) each.material = material;
    });
    loaded.scene.renderOrder = opacity < 0.5 ? 2 : 1;
    this.drop(name);
    this.parts.set(name, loaded.scene);
    this.scene.add(loaded.scene);
    this.redraw();
  }

  replace(name: string, glb: ArrayBuffer, opacity: number, colour = name): Promise<void> {
    return this.add(name, glb, opacity, colour);
  }

  drop(name: string): void {
    const part = this.parts.get(name);
    if (!part) return;
    this.scene.remove(part);
    part.traverse((each) => {
      if (each instanceof Mesh) each.geometry.dispose();
    });
    this.parts.delete(name);
    this.redraw();
  }

  show(name: string, on: boolean): void {
    const part = this.parts.get(name);
    if (part) part.visible = on;
    this.redraw();
  }

  fade(name: string, opacity: number): void {
    const material = this.material(name);
    if (!material) return;
    Object.assign(material, { opacity, transparent: opacity < 1, depthWrite: opacity > 0.5 });
    this.redraw();
  }

  opacityOf(name: string): number {
    return this.material(name)?.opacity ?? 1;
  }

  private material(name: string): MeshStandardMaterial | null {
    let found: MeshStandardMaterial | null = null;
    this.parts.get(name)?.traverse((each) => {
      if (each instanceof Mesh) found = each.material as MeshStandardMaterial;
    });
    return found;
  }

  frame(): void {
    this.box = new Box3();
    for (const part of this.parts.values()) this.box.expandByObject(part);
    this.view("A");
  }

  view(side: Side): void {
    const centre = this.box.getCenter(new Vector3());
    const size = this.box.getSize(new Vector3()).length() || 0.2;
    this.camera.up.set(0, side === "S" || side === "I" ? 0 : 1, side === "S" || side === "I" ? 1 : 0);
    this.camera.position.copy(centre).addScaledVector(new Vector3(...SIDES[side]), size * 1.35);
    this.controls.target.copy(centre);
    this.controls.update();
    this.redraw();
  }

  /** Cut from the front: 0 nothing, 1 everything. */
  clip(share: number): void {
    this.plane.constant = this.box.max.z - share * (this.box.max.z - this.box.min.z) + (share === 0 ? 1 : 0);
    this.redraw();
  }

  picture(): string {
    this.renderer.render(this.scene, this.camera);
    return this.renderer.domElement.toDataURL("image/png");
  }

  letters(): Record<Side, [number, number]> {
    this.camera.updateMatrixWorld();
    const centre = this.box.getCenter(new Vector3());
    const size = this.box.getSize(new Vector3());
    const placed = (Object.keys(SIDES) as Side[]).map((side) => {
      const direction = new Vector3(...SIDES[side]);
      const at = centre.clone().add(direction.multiply(size).multiplyScalar(0.56)).project(this.camera);
      return [side, [((at.x + 1) / 2) * this.stage.clientWidth, ((1 - at.y) / 2) * this.stage.clientHeight]];
    });
    return Object.fromEntries(placed) as Record<Side, [number, number]>;
  }

  placeOf(name: string): [number, number] {
    this.camera.updateMatrixWorld();
    const part = this.parts.get(name);
    const at = new Box3().expandByObject(part ?? this.scene).getCenter(new Vector3()).project(this.camera);
    return [((at.x + 1) / 2) * this.stage.clientWidth, ((1 - at.y) / 2) * this.stage.clientHeight];
  }

  stop(): void {
    this.observer.disconnect();
    this.controls.dispose();
    for (const name of [...this.parts.keys()]) this.drop(name);
    this.renderer.dispose();
    this.renderer.forceContextLoss();
    this.renderer.domElement.remove();
    for (const mark of this.marks.values()) mark.remove();
  }

  /** Whether a side lies along the line of sight: its letter would stand on the picture. */
  private towardsViewer(side: Side): boolean {
    const sight = this.camera.position.clone().sub(this.controls.target).normalize();
    return Math.abs(sight.dot(new Vector3(...SIDES[side]))) > 0.93;
  }

  private key(event: KeyboardEvent): void {
    const turns: Record<string, [number, number]> = { ArrowLeft: [-0.12, 0], ArrowRight: [0.12, 0], ArrowUp: [0, -0.12], ArrowDown: [0, 0.12] };
    const turn = turns[event.key];
    if (turn) {
      const offset = this.camera.position.clone().sub(this.controls.target);
      offset.applyAxisAngle(this.camera.up, turn[0]);
      const side = new Vector3().crossVectors(this.camera.up, offset).normalize();
      offset.applyAxisAngle(side, turn[1]);
      this.camera.position.copy(this.controls.target).add(offset);
    } else if (event.key === "+" || event.key === "-") {
      this.camera.position.sub(this.controls.target).multiplyScalar(event.key === "+" ? 0.9 : 1.1).add(this.controls.target);
    } else return;
    event.preventDefault();
    this.controls.update();
    this.redraw();
  }

  private resize(): void {
    const [w, h] = [this.stage.clientWidth, this.stage.clientHeight];
    if (!w || !h) return;
    this.renderer.setSize(w, h, false);
    this.camera.aspect = w / h;
    this.camera.updateProjectionMatrix();
    this.redraw();
  }

  private redraw(): void {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.renderer.render(this.scene, this.camera);
      const letters = this.box.isEmpty() ? null : this.letters();
      for (const [side, mark] of this.marks) {
        mark.hidden = !letters || this.towardsViewer(side);
        if (letters) [mark.style.left, mark.style.top] = letters[side].map((v) => `${v.toFixed(1)}px`) as [string, string];
      }
    });
  }
}
