/** One patient: timeline, growth curve with forecast, past forecasts with their scores, measurements, what is missing. */

import { read } from "../api";
import type { History, Region, Result, ScoredForecast, Treatment } from "../api";
import { REGIONS } from "../api";
import { drawCurve } from "../chart/curve";
import type { CurveChoice } from "../chart/curve";
import { totalMl } from "../chart/series";
import { timeline } from "../chart/timeline";
import { button, checkbox, copyable, el, field, link, ml, select, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";
import { lesions } from "./measurements";

export const patient: Page = async ({ key, options, leaving }) => {
  const asked = { patient_key: key };
  const [history, forecasts, given] = await Promise.all([
    read("patients/{patient_key}/history", asked),
    read("patients/{patient_key}/forecasts", asked),
    read("patients/{patient_key}/treatments", asked),
  ]);
  const results = history.studies.flatMap((s) => (s.result ? [s.result] : []));
  const last = results.at(-1);
  const chosen = options.get("study") ?? "";
  const title = el("h1", {}, `${t("patient")} ${history.patient_key}`);
  if (!last) return [title, el("p", { class: "muted" }, t("no-result"))];
  return [
    title,
    facts(history, last),
    doors(key, chosen),
    timeline(history, chosen),
    el("div", { class: "columns" }, curve(results, forecasts, last.target, leaving), el("div", {}, forecastTable(forecasts.at(-1)), treatments(given))),
    lesions(results),
    pastForecasts(forecasts),
    missing(history, last, given),
  ];
};

function facts(history: History, last: Result): HTMLElement {
  const change = last.lesions.length === 1 ? last.lesions[0]?.changes.find((c) => c.reference === "nadir") : undefined;
  const entries: [string, string, string][] = [
    [t("tumour-type"), history.tumour_type ?? t("not-stated"), ""],
    [t("last-study"), last.timepoint.acquired, ""],
    [t("response"), last.response, `response-${last.response}`],
    [`${t(last.target)} ml`, ml(totalMl(last)), ""],
    [t("against-nadir"), change?.relative === undefined || change.relative === null ? "-" : `${Math.round(change.relative * 100)} %`, ""],
    [t("verification"), t("ai-unverified"), ""],
  ];
  return el("dl", { class: "summary" }, ...entries.map(([name, value, kind]) => el("div", {}, el("dt", {}, name), el("dd", { class: kind }, value))));
}

function doors(key: string, chosen: string): HTMLElement {
  const study = chosen ? `?study=${chosen}` : "";
  return el(
    "p",
    { class: "row no-print" },
    el("a", { class: "primary", href: `#/images/${key}${study}` }, t("images-2d")),
    el("a", { class: "primary", href: `#/solid/${key}${study}` }, t("solid-3d")),
    button(t("print"), () => window.print()),
  );
}

function curve(results: Result[], forecasts: ScoredForecast[], target: Region, leaving: (act: () => void) => void): HTMLElement {
  const choice: CurveChoice = { region: target, lesion: "", past: false };
  const place = el("div", {});
  let stop = (): void => undefined;
  const draw = (): void => {
    stop();
    const made = drawCurve(results, forecasts, choice);
    stop = made.stop;
    place.replaceChildren(made.figure);
  };
  leaving(() => stop());
  const named = new Map(results.flatMap((r) => r.lesions).map((l) => [l.tracking_uid, l.tracking_id]));
  const regions = REGIONS.map((r): [string, string] => [r, t(r)]);
  const all: [string, string][] = [["", t("all-lesions")], ...named.entries()];
  const change = (part: Partial<CurveChoice>): void => {
    Object.assign(choice, part);
    draw();
  };
  draw();
  return el(
    "section",
    { "aria-label": t("growth-curve") },
    el(
      "p",
      { class: "row no-print" },
      field(t("region"), select(regions, target, (value) => change({ region: value as Region }))),
      field(t("lesion"), select(all, "", (value) => change({ lesion: value }))),
      checkbox(t("past-forecasts"), false, (on) => change({ past: on }), "forecast"),
    ),
    place,
  );
}

function forecastTable(made: ScoredForecast | undefined): HTMLElement {
  if (!made) return el("p", { class: "muted" }, t("no-forecast"));
  if (made.abstained) return el("p", { class: "muted" }, `${t("no-forecast")} ${made.abstained}`);
  const rows = made.points.map((p) => [t("in-days", { days: p.horizon_days }), ml(p.median_ml), `${ml(p.lower_ml)} - ${ml(p.upper_ml)}`, `${Math.round(p.coverage * 100)} %`]);
  const values = table(t("forecast-caption", { model: `${made.model.name} ${made.model.version}` }), [t("after-last"), t("median-ml"), t("interval-ml"), t("coverage")], rows, t("no-forecast"));
  return el("section", {}, values, el("p", { class: "muted" }, t("forecast-caution"), " ", link(`#/models/${made.model.name}`, t("model-card"))));
}

function treatments(given: Treatment[]): HTMLElement {
  const rows = given.map((g) => [g.kind, g.start, g.stop, [g.agent, g.extent].filter(Boolean).join(" ") || null, g.stated_by]);
  const columns = [t("kind"), t("first"), t("last"), t("detail"), t("who")];
  return el("section", {}, el("h2", {}, t("treatments")), table(t("treatments"), columns, rows, t("no-treatments")));
}

function pastForecasts(forecasts: ScoredForecast[]): HTMLElement {
  const rows = forecasts.flatMap((f) =>
    f.scores.map((s) => [f.made, t("in-days", { days: s.interval_days }), ml(s.median_ml), `${ml(s.lower_ml)} - ${ml(s.upper_ml)}`, ml(s.observed_ml), s.inside ? t("inside") : t("outside")]),
  );
  const inside = forecasts.flatMap((f) => f.scores).filter((s) => s.inside).length;
  const columns = [t("forecast-made"), t("for-after"), t("median-ml"), t("interval-ml"), t("measured-ml"), t("interval")];
  const made = copyable(table(t("past-caption", { inside, all: rows.length }), columns, rows, t("none-scored")));
  return el("section", {}, el("h2", {}, t("past-forecasts")), made);
}

function missing(history: History, last: Result, given: Treatment[]): HTMLElement {
  const open = history.studies.filter((s) => !s.result).map((s) => el("li", {}, link(`#/studies/${s.study_key}`, s.study_key), ` ${s.state}`));
  const notes = [...new Set(last.warnings)].map((w) => el("li", {}, w));
  const lines = [...notes, ...open, ...(given.length ? [] : [el("li", {}, t("no-treatments"))]), el("li", {}, t("missing-reader"))];
  return el("section", {}, el("h2", {}, t("missing")), el("ul", {}, ...lines));
}
