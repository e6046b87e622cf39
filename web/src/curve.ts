/** The growth curve of a patient with the forecast made at the last study. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { History, Result } from "./api";
import { el } from "./dom";

const DAY_S = 86_400;

interface Series {
  at: number[];
  measured: (number | null)[];
  median: (number | null)[];
  lower: (number | null)[];
  upper: (number | null)[];
}

export function totalMl(result: Result): number {
  return result.lesions.reduce((sum, lesion) => sum + (lesion.measurement?.volumes_ml[result.target] ?? 0), 0);
}

function seconds(date: string): number {
  return Date.parse(`${date}T00:00:00Z`) / 1000;
}

function collect(results: Result[]): Series {
  const at = results.map((r) => seconds(r.timepoint.acquired));
  const measured: (number | null)[] = results.map(totalMl);
  const none = results.map(() => null as number | null);
  const series: Series = { at, measured, median: [...none], lower: [...none], upper: [...none] };
  const last = results.at(-1);
  if (!last?.forecast || last.forecast.points.length === 0) return series;
  const start = at.length - 1;
  series.median[start] = series.lower[start] = series.upper[start] = totalMl(last);
  for (const point of last.forecast.points) {
    series.at.push(seconds(last.timepoint.acquired) + point.horizon_days * DAY_S);
    series.measured.push(null);
    series.median.push(point.median_ml);
    series.lower.push(point.lower_ml);
    series.upper.push(point.upper_ml);
  }
  return series;
}

export function drawCurve(history: History): HTMLElement {
  const results = history.studies.flatMap((s) => (s.result ? [s.result] : []));
  const figure = el("figure", { class: "curve" });
  const last = results.at(-1);
  if (!last) return figure;
  const data = collect(results);
  const place = el("div", { role: "img", "aria-label": "Volume over time and forecast; the values are in the table below" });
  const coverage = last.forecast?.points[0]?.coverage;
  const interval = coverage === undefined ? "" : `, ${Math.round(coverage * 100)} % interval`;
  figure.append(place, el("figcaption", {}, `Volume (${last.target}) of all lesions in ml; dashed: forecast${interval}, model output and not a measurement.`));
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim();
  const grid = style.getPropertyValue("--line").trim();
  const violet = style.getPropertyValue("--forecast").trim();
  requestAnimationFrame(() => {
    new uPlot(
      {
        width: Math.max(320, figure.clientWidth),
        height: 320,
        scales: { y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.1)] } },
        axes: [
          { stroke: ink, grid: { stroke: grid } },
          { stroke: ink, grid: { stroke: grid }, label: "ml" },
        ],
        series: [
          {},
          { label: "measured", stroke: ink, width: 2, points: { show: true, size: 8 } },
          { label: "forecast", stroke: violet, width: 2, dash: [6, 4], points: { show: true } },
          { label: "lower", stroke: violet, width: 1, points: { show: false } },
          { label: "upper", stroke: violet, width: 1, points: { show: false } },
        ],
        bands: [{ series: [4, 3], fill: `${violet}33` }],
      },
      [data.at, data.measured, data.median, data.lower, data.upper],
      place,
    );
  });
  return figure;
}
