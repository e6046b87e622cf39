/** The 3-D page: surfaces of the compartments at one time point, the followed tumour through time and into its
 * forecast, or the brain as a volume with the tumour inside. The drawing libraries come with it, not before. */

import { address, ask, read } from "../api";
import type { MeshLine, Result, ScoredForecast } from "../api";
import { button, checkbox, el, field, link, select, slider } from "../dom";
import { t } from "../i18n";
import type { MessageKey } from "../i18n";
import type { Page, Visit } from "../router";
import type { SurfaceScene } from "../solid/surfaces";

type Mode = "surfaces" | "through-time" | "volume";

export const solid: Page = async (visit) => {
  const asked = { patient_key: visit.key };
  const [history, forecasts] = await Promise.all([
    read("patients/{patient_key}/history", asked),
    read("patients/{patient_key}/forecasts", asked),
  ]);
  const dated = history.studies.flatMap((s) => (s.result ? [{ key: s.study_key, result: s.result }] : []));
  const title = el("h1", {}, `${t("solid-3d")}: `, link(`#/patients/${visit.key}`, visit.key));
  if (dated.length === 0) return [title, el("p", { class: "muted" }, t("no-result"))];
  const viewer = new SolidViewer(visit, dated, forecasts.at(-1));
  viewer.start();
  return [title, viewer.node];
};

class SolidViewer {
  readonly node = el("div", { class: "viewer" });
  private readonly readout = el("p", { class: "readout", role: "status" });
  private readonly stage = el("div", { class: "stage" });
  private readonly panel = el("div", { class: "panel no-print" });
  private study: string;
  private mode: Mode = "surfaces";
  private stopped: () => void = () => undefined;
  private turn = 0;

  constructor(
    private readonly visit: Visit,
    private readonly dated: { key: string; result: Result }[],
    private readonly forecast: ScoredForecast | undefined,
  ) {
    this.study = dated.find((d) => d.key === visit.options.get("study"))?.key ?? (dated.at(-1)?.key as string);
    visit.leaving(() => this.stopped());
  }

  start(): void {
    this.node.append(this.stage, this.panel);
    void this.open();
  }

  private async open(): Promise<void> {
    this.stopped();
    this.stopped = () => undefined;
    const mine = (this.turn += 1);
    this.stage.replaceChildren(this.readout);
    this.readout.replaceChildren(t("loading"));
    this.panel.replaceChildren(this.modes());
    try {
      const opened = this.mode === "volume" ? await this.openVolume() : await this.openSurfaces();
      if (mine === this.turn) this.stopped = opened;
      else opened();
    } catch (error) {
      if (mine === this.turn) this.readout.replaceChildren(error instanceof Error ? error.message : String(error));
    }
  }

  private modes(): HTMLElement {
    const names: [Mode, MessageKey][] = [
      ["surfaces", "surfaces"],
      ["through-time", "through-time"],
      ["volume", "volume-rendering"],
    ];
    return field(
      t("show"),
      select(
        names.map(([mode, key]): [string, string] => [mode, t(key)]),
        this.mode,
        (value) => {
          this.mode = value as Mode;
          void this.open();
        },
      ),
    );
  }

  private studyChoice(): HTMLElement {
    const options = this.dated.map((d): [string, string] => [d.key, d.result.timepoint.acquired]);
    return field(
      t("time-point"),
      select(options, this.study, (value) => {
        this.study = value;
        void this.open();
      }),
    );
  }

  private async openVolume(): Promise<() => void> {
    this.panel.append(this.studyChoice());
    const { openVolumeScene } = await import("../solid/volume");
    const scene = await openVolumeScene(this.stage, this.study);
    this.readout.replaceChildren(t("volume-readout"));
    this.panel.append(
      field(t("brain-opacity"), slider({ min: 0.02, max: 1, step: 0.02 }, 0.3, (value) => scene.opacity(value))),
      field(t("clip"), slider({ min: 0, max: 1, step: 0.01 }, 0, (value) => scene.clip(value))),
      button(t("screenshot"), () => void scene.picture().then((url) => download(url, `timepoint-${this.study}.png`))),
    );
    return () => scene.stop();
  }

  private async openSurfaces(): Promise<() => void> {
    const { openSurfaceScene } = await import("../solid/surfaces");
    const scene = openSurfaceScene(this.stage);
    Object.assign(this.stage, { scene });
    if (this.mode === "surfaces") await this.addParts(scene);
    else await this.addTime(scene);
    this.views(scene);
    return () => scene.stop();
  }

  private async addParts(scene: SurfaceScene): Promise<void> {
    this.panel.append(this.studyChoice());
    const study_key = this.study;
    const lines = await read("studies/{study_key}/meshes", { study_key });
    const drawn = lines.filter((line) => line.part !== "whole" && line.part !== "core");
    for (const line of drawn) {
      const url = address("studies/{study_key}/meshes/{part}", { study_key, part: line.part });
      await scene.add(line.part, await (await ask("GET", url)).arrayBuffer(), line.part === "brain" ? 0.12 : line.part === "oedema" ? 0.35 : 0.9);
      this.panel.append(
        checkbox(`${t(line.part as MessageKey)} ${line.voxel_ml.toFixed(1)} ml`, true, (on) => scene.show(line.part, on), line.part),
        labelled(slider({ min: 0.05, max: 1, step: 0.05 }, scene.opacityOf(line.part), (value) => scene.fade(line.part, value)), `${t("opacity")} ${t(line.part as MessageKey)}`),
      );
    }
    scene.frame();
    const whole = lines.find((line) => line.part === "whole");
    const date = this.dated.find((d) => d.key === study_key)?.result.timepoint.acquired ?? "";
    this.readout.replaceChildren(`${date}: ${t("whole")} ${whole?.voxel_ml.toFixed(1) ?? "0"} ml`);
    this.panel.append(this.downloads(lines));
  }

  private downloads(lines: MeshLine[]): HTMLElement {
    const rows = lines.map((line) => {
      const to = (format: "glb" | "stl"): HTMLElement =>
        el("a", { href: address("studies/{study_key}/meshes/{part}", { study_key: this.study, part: line.part, format }), download: `${this.study}-${line.part}.${format}` }, format.toUpperCase());
      return el("li", {}, `${t(line.part as MessageKey)} (${(line.error * 100).toFixed(2)} %) `, to("glb"), " ", to("stl"));
    });
    return el("details", {}, el("summary", {}, t("downloads")), el("p", { class: "muted" }, t("mesh-error")), el("ul", {}, ...rows));
  }

  private async addTime(scene: SurfaceScene): Promise<void> {
    const first = this.dated[0]?.result.timepoint.days_from_baseline ?? 0;
    const last = this.dated.at(-1)?.result.timepoint.days_from_baseline ?? 0;
    const end = last + (this.forecast?.points.at(-1)?.horizon_days ?? 0);
    const brain = address("studies/{study_key}/meshes/{part}", { study_key: this.dated[0]?.key as string, part: "brain" });
    await scene.add("brain", await (await ask("GET", brain)).arrayBuffer(), 0.1);
    let wanted = first;
    let busy = false;
    const move = async (): Promise<void> => {
      if (busy) return;
      busy = true;
      while (true) {
        const day = wanted;
        await this.showDay(scene, day, day > last);
        if (day === wanted) break;
      }
      busy = false;
    };
    const bar = slider({ min: first, max: end, step: 1 }, first, (value) => {
      wanted = value;
      void move();
    });
    const play = button(t("play"), () => {
      const from = wanted >= end ? first : wanted;
      void this.play(from, end, (day) => {
        wanted = day;
        bar.value = String(day);
        return this.showDay(scene, day, day > last);
      });
    });
    this.panel.append(field(t("day"), bar), el("p", { class: "row" }, play), el("p", { class: "muted" }, t("shell-note")));
    await this.showDay(scene, first, false);
    scene.frame();
  }

  private async play(from: number, to: number, show: (day: number) => Promise<void>): Promise<void> {
    const turn = this.turn;
    const step = Math.max(1, Math.round((to - from) / 40));
    for (let day = from; day < to + step && turn === this.turn; day += step) await show(Math.min(to, day));
  }

  private async showDay(scene: SurfaceScene, day: number, forecast: boolean): Promise<void> {
    const bounds = forecast ? (["median", "lower", "upper"] as const) : (["median"] as const);
    const said: string[] = [];
    for (const bound of ["median", "lower", "upper"] as const) {
      const name = `shape-${bound}`;
      if (!bounds.includes(bound as never)) {
        scene.drop(name);
        continue;
      }
      const answer = await ask("GET", address("patients/{patient_key}/shape", { patient_key: this.visit.key, day, bound }));
      said.push(answer.status === 204 ? "0.0" : Number(answer.headers.get("Timepoint-Volume-Ml")).toFixed(1));
      if (answer.status === 204) scene.drop(name);
      else await scene.replace(name, await answer.arrayBuffer(), forecast ? (bound === "median" ? 0.55 : 0.16) : 0.9, forecast ? "forecast" : "enhancing");
    }
    const [median, lower, upper] = said;
    this.readout.replaceChildren(
      forecast ? t("day-forecast", { day, median: median ?? "", lower: lower ?? "", upper: upper ?? "" }) : t("day-measured", { day, volume: median ?? "" }),
    );
  }

  private views(scene: SurfaceScene): void {
    const sides: [MessageKey, Parameters<SurfaceScene["view"]>[0]][] = [
      ["view-front", "A"],
      ["view-left", "L"],
      ["view-top", "S"],
    ];
    this.panel.append(
      el("p", { class: "row" }, ...sides.map(([key, side]) => button(t(key), () => scene.view(side)))),
      field(t("clip"), slider({ min: 0, max: 1, step: 0.01 }, 0, (value) => scene.clip(value))),
      button(t("screenshot"), () => download(scene.picture(), `timepoint-${this.visit.key}.png`)),
      el("p", { class: "muted" }, t("solid-help")),
    );
  }
}

function labelled<E extends HTMLElement>(control: E, label: string): E {
  control.setAttribute("aria-label", label);
  return control;
}

function download(url: string, name: string): void {
  el("a", { href: url, download: name }).click();
}
