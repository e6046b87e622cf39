/** One patient: growth curve, forecast and measurements. */

import { get } from "../api";
import type { History, Result } from "../api";
import { drawCurve } from "../curve";
import { el, ml, table } from "../dom";
import { lesions } from "./measurements";

export async function patient(key: string): Promise<Node[]> {
  const history = await get<History>(`patients/${encodeURIComponent(key)}/history`);
  const results = history.studies.flatMap((s) => (s.result ? [s.result] : []));
  const warnings = [...new Set(results.at(-1)?.warnings ?? [])].map((w) => el("li", {}, w));
  return [
    el("h1", {}, `Patient ${history.patient_key}`),
    drawCurve(history),
    forecast(results.at(-1)),
    lesions(results),
    ...(warnings.length ? [el("h2", {}, "Notes on the last study"), el("ul", {}, ...warnings)] : []),
  ];
}

function forecast(result: Result | undefined): HTMLElement {
  const made = result?.forecast;
  if (!made) return el("p", { class: "muted" }, "No forecast.");
  if (made.abstained) return el("p", { class: "muted" }, `No forecast: ${made.abstained}`);
  const rows = made.points.map((p) => [`+${p.horizon_days} days`, ml(p.median_ml), `${ml(p.lower_ml)} to ${ml(p.upper_ml)}`, `${Math.round(p.coverage * 100)} %`]);
  const caution = "Trained on synthetic histories. On real treated glioma it did not beat the last value and its intervals were too narrow: see the model card.";
  const values = table(`Forecast by ${made.model.name} ${made.model.version}: model output, not a measurement`, ["after the last study", "median ml", "interval ml", "coverage"], rows, "No forecast.");
  return el("section", {}, values, el("p", { class: "muted" }, caution));
}
