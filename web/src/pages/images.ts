/** The slice viewer: every contrast in three planes, one to four time points side by side on the patient's grid. */

import { address, read } from "../api";
import type { Compartment, Triple, Volume } from "../api";
import { button, checkbox, el, field, link, select, slider } from "../dom";
import { t } from "../i18n";
import type { Page, Visit } from "../router";
import { Pane } from "../slices/pane";
import { PLANES, toVoxel, moved } from "../slices/planes";
import type { PlaneName } from "../slices/planes";
import { Shared } from "../slices/scene";
import type { TimePointImages } from "../slices/scene";
import { openVoxels } from "../slices/volume";

const MOST = 4;

interface Choice {
  contrast: string;
  planes: PlaneName[];
  studies: string[];
}

export const images: Page = async (visit) => {
  const history = await read("patients/{patient_key}/history", { patient_key: visit.key });
  const dated = history.studies.flatMap((s) => (s.result ? [{ key: s.study_key, date: s.result.timepoint.acquired }] : []));
  const asked = visit.options.get("study");
  const first = dated.find((d) => d.key === asked) ?? dated.at(-1);
  const title = el("h1", {}, `${t("images-2d")}: `, link(`#/patients/${visit.key}`, visit.key));
  if (!first) return [title, el("p", { class: "muted" }, t("no-result"))];
  const viewer = new Viewer(visit, dated, first.key);
  await viewer.start();
  return [title, viewer.node];
};

class Viewer {
  readonly node = el("div", { class: "viewer" });
  private readonly panes = el("div", { class: "panes" });
  private readonly shared = new Shared({
    cross: [0, 0, 0],
    look: { low: 0, high: 1, opacity: 0.45, contour: false, hidden: new Set() },
    zoom: 1,
    pan: [0, 0],
    diameters: true,
    change: false,
  });
  private readonly choice: Choice;
  private readonly volumes = new Map<string, Volume>();
  private shown: Pane[] = [];
  private opened: TimePointImages[] = [];
  private openedContrast = "";
  private reading = new AbortController();
  private readonly said = el("p", { role: "status", class: "muted" });

  constructor(
    visit: Visit,
    private readonly dated: { key: string; date: string }[],
    first: string,
  ) {
    this.choice = { contrast: "t1c", planes: ["axial"], studies: [first] };
    visit.leaving(() => this.leave());
    // For those who look at the viewer from outside: its state, and where a place in the patient lies on its grid.
    Object.assign(this.node, { shared: this.shared, gridPlace: (lps: Triple) => this.gridPlace(lps) });
  }

  async start(): Promise<void> {
    const volume = await this.volume(this.choice.studies[0] as string);
    if (!volume.contrasts.includes(this.choice.contrast)) this.choice.contrast = volume.contrasts[0] ?? "";
    this.shared.scene.cross = startAt(volume);
    this.node.append(this.panes, this.controls(volume));
    await this.open(true).catch((error: unknown) => this.explain(error));
  }

  private reopen(newWindow: boolean): void {
    this.open(newWindow).catch((error: unknown) => this.explain(error));
  }

  /** What was given up because something else was chosen is no error. */
  private explain(error: unknown): void {
    if (!(error instanceof DOMException && error.name === "AbortError")) this.said.replaceChildren(error instanceof Error ? error.message : String(error));
  }

  private gridPlace(lps: Triple): Triple {
    const grid = this.volumes.get(this.choice.studies[0] as string)?.grid;
    return grid ? (toVoxel(grid.affine_lps, lps).map(Math.round) as Triple) : [0, 0, 0];
  }

  private leave(): void {
    this.reading.abort();
    for (const pane of this.shown) pane.stop();
    this.shared.forget();
  }

  private async volume(study: string): Promise<Volume> {
    const known = this.volumes.get(study);
    if (known) return known;
    const made = await read("studies/{study_key}/volume", { study_key: study });
    this.volumes.set(study, made);
    return made;
  }

  /** What was read before and is complete is not read again. */
  private kept(study: string): TimePointImages | undefined {
    const same = this.openedContrast === this.choice.contrast;
    return same ? this.opened.find((each) => each.volume.study_key === study && each.voxels?.complete && each.labels?.complete) : undefined;
  }

  /** Lay the panes out and read what they show. */
  private async open(newWindow: boolean): Promise<void> {
    this.reading.abort();
    this.reading = new AbortController();
    const { signal } = this.reading;
    for (const pane of this.shown) pane.stop();
    this.shared.forget();
    const { studies, planes } = this.choice;
    const opened: TimePointImages[] = [];
    for (const study of studies) {
      opened.push(this.kept(study) ?? { title: this.dated.find((d) => d.key === study)?.date ?? study, volume: await this.volume(study), voxels: null, labels: null });
    }
    const reference = opened[0] ?? null;
    this.opened = opened;
    this.openedContrast = this.choice.contrast;
    this.shown = planes.flatMap((plane) => opened.map((each) => new Pane(plane, each, reference, this.shared)));
    const columns = studies.length > 1 ? studies.length : planes.length;
    this.panes.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    const rows = (planes.length * studies.length) / columns;
    this.panes.style.gridAutoRows = rows > 1 ? `${Math.max(36, 78 / rows)}vh` : "74vh";
    this.panes.replaceChildren(...this.shown.map((pane) => pane.node));
    this.shared.redraw();
    await Promise.all(opened.map((each) => this.read(each, signal, newWindow && each === reference)));
  }

  private async read(each: TimePointImages, signal: AbortSignal, takeWindow: boolean): Promise<void> {
    const { volume } = each;
    if (each.voxels && each.labels) {
      if (takeWindow) [this.shared.scene.look.low, this.shared.scene.look.high] = each.voxels.window;
      this.shared.redraw();
      return;
    }
    const { shape, affine_lps } = volume.grid;
    const draw = (): void => this.shared.redraw();
    const study_key = volume.study_key;
    if (!volume.contrasts.includes(this.choice.contrast)) {
      this.said.replaceChildren(t("no-contrast", { contrast: this.choice.contrast, study: each.title }));
      return;
    }
    this.said.replaceChildren(volume.registered ? t("resampled-registered") : t("resampled"));
    const masks = openVoxels(address("studies/{study_key}/masks", { study_key }), shape, affine_lps, "uint8", draw, signal);
    const url = address("studies/{study_key}/volume/{contrast}", { study_key, contrast: this.choice.contrast });
    masks.catch(() => undefined); // awaited below, where it is told
    each.voxels = await openVoxels(url, shape, affine_lps, "int16", draw, signal);
    if (takeWindow) [this.shared.scene.look.low, this.shared.scene.look.high] = each.voxels.window;
    each.labels = await masks;
    draw();
  }

  private controls(volume: Volume): HTMLElement {
    const { scene } = this.shared;
    const again = (newWindow = false): void => this.reopen(newWindow);
    const contrasts = volume.contrasts.map((c): [string, string] => [c, c.toUpperCase()]);
    const planes: [string, string][] = [...PLANES.map((p): [string, string] => [p, t(p)]), ["all", t("all-planes")]];
    const redraw = (): void => this.shared.redraw();
    return el(
      "div",
      { class: "panel no-print" },
      field(
        t("contrast"),
        select(contrasts, this.choice.contrast, (value) => {
          this.choice.contrast = value;
          again(true);
        }),
      ),
      field(
        t("plane"),
        select(planes, "axial", (value) => {
          this.choice.planes = value === "all" ? [...PLANES] : [value as PlaneName];
          again();
        }),
      ),
      this.times(again),
      field(t("opacity"), slider({ min: 0, max: 1, step: 0.05 }, scene.look.opacity, (value) => ((scene.look.opacity = value), redraw()))),
      checkbox(t("contours"), false, (on) => ((scene.look.contour = on), redraw())),
      this.compartments(volume),
      checkbox(t("diameters"), true, (on) => ((scene.diameters = on), redraw())),
      checkbox(t("subtraction"), false, (on) => ((scene.change = on), redraw())),
      el("p", { class: "row" }, button(t("narrower"), () => this.shared.window(1 / 1.2, 0)), button(t("wider"), () => this.shared.window(1.2, 0)), button(t("reset"), () => this.reset())),
      el("p", { class: "muted" }, t("viewer-help")),
      this.said,
    );
  }

  private times(again: () => void): HTMLElement {
    const boxes = this.dated.map(({ key, date }) =>
      checkbox(date, this.choice.studies.includes(key), (on) => {
        const chosen = new Set(this.choice.studies);
        if (on && chosen.size < MOST) chosen.add(key);
        else if (chosen.size > 1) chosen.delete(key);
        this.choice.studies = this.dated.map((d) => d.key).filter((k) => chosen.has(k));
        for (const [i, box] of [...fieldset.querySelectorAll("input")].entries()) box.checked = chosen.has((this.dated[i] as { key: string }).key);
        again();
      }),
    );
    const fieldset = el("fieldset", {}, el("legend", {}, t("time-points-most", { most: MOST })), ...boxes);
    return fieldset;
  }

  private compartments(volume: Volume): HTMLElement {
    const { hidden } = this.shared.scene.look;
    const boxes = volume.compartments.map(({ name, label }) =>
      checkbox(
        t(name as Compartment),
        true,
        (on) => {
          if (on) hidden.delete(label);
          else hidden.add(label);
          this.shared.redraw();
        },
        name,
      ),
    );
    return el("fieldset", {}, el("legend", {}, t("compartments")), ...boxes);
  }

  private reset(): void {
    const { scene } = this.shared;
    scene.zoom = 1;
    scene.pan = [0, 0];
    this.reopen(true);
  }
}

/** The middle of the largest lesion's diameter, else the middle of the grid. */
function startAt(volume: Volume): Triple {
  const line = volume.lesions[0]?.diameters[0];
  if (!line) return volume.grid.shape.map((n) => Math.floor(n / 2)) as Triple;
  const middle = line.start.map((v, i) => (v + (line.end[i] as number)) / 2) as Triple;
  return toVoxel(volume.grid.affine_lps, moved(volume.to_frame, middle)).map(Math.round) as Triple;
}
