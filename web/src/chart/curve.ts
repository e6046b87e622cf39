/** The growth curve: measured volumes with their uncertainty, the forecast fan, and past forecasts where asked for. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Region, Result, ScoredForecast } from "../api";
import { el } from "../dom";
import { language, t } from "../i18n";
import { fan, measured, sampled } from "./series";
import type { Measured } from "./series";

export interface CurveChoice {
  region: Region;
  lesion: string;
  past: boolean;
}

/** Draw into a figure that is kept up to the width of its place; `stop` ends that. */
export function drawCurve(results: Result[], forecasts: ScoredForecast[], choice: CurveChoice): { figure: HTMLElement; stop: () => void } {
  const place = el("div", { role: "img", "aria-label": t("curve-label") });
  const latest = forecasts.at(-1);
  const own = !choice.lesion && latest?.region === choice.region && latest.points.length > 0;
  const coverage = own && latest.points[0] ? `; ${t("fan-note", { percent: Math.round(latest.points[0].coverage * 100) })}` : "";
  const figure = el("figure", { class: "curve" }, place, el("figcaption", {}, `${t("curve-note", { region: t(choice.region) })}${coverage}`));
  const shown = own ? (choice.past ? forecasts.filter((f) => f.points.length > 0) : [latest]) : [];
  let plot: uPlot | null = null;
  const draw = (): void => {
    plot?.destroy();
    plot = plotOf(place, figure.clientWidth, measured(results, choice.region, choice.lesion), shown, choice.region);
  };
  const observer = new ResizeObserver(() => {
    if (figure.clientWidth > 0 && figure.clientWidth !== plot?.width) draw();
  });
  observer.observe(figure);
  window.addEventListener("themechange", draw);
  const stop = (): void => {
    observer.disconnect();
    window.removeEventListener("themechange", draw);
    plot?.destroy();
  };
  return { figure, stop };
}

function plotOf(place: HTMLElement, width: number, points: Measured[], forecasts: ScoredForecast[], region: Region): uPlot {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  const fans = forecasts.map(fan);
  const times = [...new Set([...points.map((p) => p.at), ...fans.flatMap((f) => f.at)])].sort((a, b) => a - b);
  const line = times.map((time) => points.find((p) => p.at === time)?.ml ?? null);
  const data: (number | null)[][] = [times, line];
  const ink = colour("ink");
  const series: uPlot.Series[] = [{}, { label: t("measured"), stroke: colour(region), width: 2, spanGaps: true, points: { show: true, size: 9, fill: colour(region) } }];
  const bands: uPlot.Band[] = [];
  fans.forEach((f, i) => {
    const last = i === fans.length - 1;
    const violet = colour("forecast");
    data.push(sampled(times, f.at, f.median), sampled(times, f.at, f.lower), sampled(times, f.at, f.upper));
    const n = series.length;
    series.push(
      { label: t("forecast"), stroke: violet, width: last ? 2 : 1, dash: [6, 4], points: { show: false } },
      { label: t("lower"), stroke: violet, width: last ? 1 : 0.5, points: { show: false } },
      { label: t("upper"), stroke: violet, width: last ? 1 : 0.5, points: { show: false } },
    );
    bands.push({ series: [n + 2, n + 1], fill: `${violet}${last ? "33" : "14"}` });
  });
  const highest = Math.max(1, ...points.map((p) => p.ml + p.half), ...fans.flatMap((f) => f.upper));
  const axis: uPlot.Axis = { stroke: ink, grid: { stroke: colour("line") }, ticks: { stroke: colour("line") } };
  const day = new Intl.DateTimeFormat(language(), { year: "numeric", month: "short", timeZone: "UTC" });
  return new uPlot(
    {
      width: Math.max(320, width),
      height: 330,
      legend: { show: false },
      scales: { y: { range: () => [0, highest * 1.08] } },
      axes: [{ ...axis, values: (_u, ticks) => ticks.map((tick) => day.format(tick * 1000)), space: 90 }, { ...axis, label: "ml" }],
      series,
      bands,
      hooks: { draw: [(u) => drawBars(u, points, colour(region))] },
    },
    data as uPlot.AlignedData,
    place,
  );
}

/** Bars of the 95 % uncertainty of each measured volume. */
function drawBars(u: uPlot, points: Measured[], stroke: string): void {
  const { ctx } = u;
  ctx.save();
  ctx.strokeStyle = stroke;
  ctx.lineWidth = 1.5 * devicePixelRatio;
  const cap = 4 * devicePixelRatio;
  for (const p of points.filter((each) => each.half > 0)) {
    const x = u.valToPos(p.at, "x", true);
    const [low, high] = [u.valToPos(Math.max(0, p.ml - p.half), "y", true), u.valToPos(p.ml + p.half, "y", true)];
    ctx.beginPath();
    ctx.moveTo(x, low);
    ctx.lineTo(x, high);
    for (const y of [low, high]) {
      ctx.moveTo(x - cap, y);
      ctx.lineTo(x + cap, y);
    }
    ctx.stroke();
  }
  ctx.restore();
}
