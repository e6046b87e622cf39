/** The pages: studies, one study, patients, one patient, quarantine. Each returns the nodes to show. */

import { get, post } from "./api";
import type { Change, History, PatientLine, QuarantineItem, Result, Study, StudyLine } from "./api";
import { drawCurve } from "./curve";
import { el, link, ml, state, table } from "./dom";

export async function studies(): Promise<Node[]> {
  const lines = await get<StudyLine[]>("studies");
  const rows = lines.map((s) => [
    link(`#/studies/${s.study_key}`, s.study_key),
    s.patient_key ? link(`#/patients/${s.patient_key}`, s.patient_key) : null,
    s.acquired,
    state(s.state),
    s.instances,
    s.reason || null,
  ]);
  const columns = ["study", "patient", "acquired", "state", "images", "reason"];
  return [el("h1", {}, "Studies"), table("Newest arrival first", columns, rows, "No study has arrived yet.")];
}

export async function study(key: string): Promise<Node[]> {
  const s = await get<Study>(`studies/${encodeURIComponent(key)}`);
  const facts = table(
    "Study",
    ["patient", "acquired", "state", "revision", "images", "reason"],
    [[s.patient_key ? link(`#/patients/${s.patient_key}`, s.patient_key) : null, s.acquired, state(s.state), s.revision, s.instances, s.reason || null]],
    "",
  );
  const deliveries = table(
    "Deliveries",
    ["destination", "object", "revision", "state", "attempts", "error"],
    s.deliveries.map((d) => [d.destination, d.object, d.revision, state(d.state), d.attempts, d.error || null]),
    "Nothing has been sent yet.",
  );
  const evidence = el("details", {}, el("summary", {}, "Why it counted as complete"), el("pre", {}, JSON.stringify(s.evidence, null, 2)));
  return [el("h1", {}, `Study ${s.study_key}`), facts, ...(s.result ? [lesions([s.result])] : []), deliveries, evidence];
}

export async function patients(): Promise<Node[]> {
  const lines = await get<PatientLine[]>("patients");
  const rows = lines.map((p) => [link(`#/patients/${p.patient_key}`, p.patient_key), p.tumour_type, p.time_points, p.first, p.last]);
  return [el("h1", {}, "Patients"), table("Under our own keys", ["patient", "tumour type", "time points", "first", "last"], rows, "No patient is on record yet.")];
}

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

function lesions(results: Result[]): HTMLElement {
  const rows = results.flatMap((r) =>
    r.lesions.map((lesion) => {
      const v = lesion.measurement?.volumes_ml;
      const change = lesion.changes.find((c) => c.reference === "previous");
      return [
        `${r.timepoint.order}${r.timepoint.is_baseline ? " baseline" : ""}${r.timepoint.is_nadir && !r.timepoint.is_baseline ? " nadir" : ""}`,
        r.timepoint.acquired,
        lesion.tracking_id + (lesion.is_new ? " (new)" : ""),
        ml(v?.whole ?? 0),
        ml(v?.core ?? 0),
        ml(v?.enhancing ?? 0),
        ml(v?.oedema ?? 0),
        change ? changed(change) : null,
        lesion.response + (r.preliminary ? " (preliminary)" : ""),
      ];
    }),
  );
  const columns = ["time point", "acquired", "lesion", "whole ml", "core ml", "enhancing ml", "oedema ml", "change since last", "response"];
  return table("Measurements: AI, not verified", columns, rows, "No lesion was found by the algorithm.");
}

function changed(change: Change): string {
  const sign = change.absolute_ml > 0 ? "+" : "";
  const percent = change.relative === null ? "" : ` (${sign}${Math.round(change.relative * 100)} %)`;
  return `${sign}${ml(change.absolute_ml)} ml${percent}${change.reliable ? "" : ", within measurement error"}`;
}

export async function quarantine(again: () => void): Promise<Node[]> {
  const items = await get<QuarantineItem[]>("quarantine");
  const act = (path: string, label: string, question: string): HTMLElement => {
    const button = el("button", { type: "button" }, label);
    button.addEventListener("click", () => {
      if (window.confirm(question)) post(path).then(again, (error: unknown) => window.alert(String(error)));
    });
    return button;
  };
  const rows = items.map((q) => [
    q.since.slice(0, 16).replace("T", " "),
    q.kind,
    q.study_key ? link(`#/studies/${q.study_key}`, q.study_key) : null,
    q.reason,
    q.remedy,
    el(
      "span",
      {},
      q.kind === "incomplete" || q.kind === "unusable"
        ? act(`quarantine/${q.key}/complete`, "Go on", "Go on with this study as it is?")
        : null,
      ...q.actions
        .filter((action) => action !== "assign")
        .map((action) => act(`quarantine/${q.key}/resolve?action=${action}`, label(action), question(action))),
      q.actions.includes("assign") ? el("span", { class: "muted" }, `timepoint quarantine resolve ${q.key} --as assign`) : null,
    ),
  ]);
  const columns = ["since", "kind", "study", "what was wrong", "what to do", "decide"];
  return [el("h1", {}, "Quarantine"), table("What waits for a person, the oldest first", columns, rows, "Nothing waits for a decision.")];
}

const DECISIONS: Record<string, [string, string]> = {
  discard: ["Leave out", "Leave this out? Its bytes stay kept."],
  release: ["Belongs here", "Does this belong to the study after all? The study is looked at again."],
  replace: ["Take the new copy", "Put the new copy in place of the stored one?"],
};

function label(action: string): string {
  return DECISIONS[action]?.[0] ?? action;
}

function question(action: string): string {
  return DECISIONS[action]?.[1] ?? `${action}?`;
}
