/** Earlier studies: for which patients the archive was asked, what it has, what was fetched and why the rest was not. */

import { ApiError, read, send } from "../api";
import { button, el, link, state, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";
import { mayOperate } from "../session";

const FETCHED = ["found", "wanted", "arrived", "incomplete"];

/** The reasons why found studies were not fetched, with how many each. */
function refused(counts: Record<string, number>): string {
  const reasons = Object.entries(counts).filter(([name, count]) => count > 0 && !FETCHED.includes(name));
  return reasons.map(([name, count]) => `${name}: ${count}`).join(", ");
}

export const priors: Page = async () => {
  const lines = await read("priors", {});
  const rows = lines.map((p) => [
    link(`#/priors/${p.patient_key}`, p.patient_key),
    p.since.slice(0, 19).replace("T", " "),
    state(p.state),
    p.counts["found"] ?? null,
    p.counts["wanted"] ?? null,
    p.counts["arrived"] ?? null,
    refused(p.counts) || null,
    p.problem || null,
  ]);
  const columns = [t("patient"), t("asked"), t("state"), t("found"), t("chosen"), t("arrived"), t("not-fetched"), t("error")];
  return [el("h1", {}, t("priors")), table(t("newest-first"), columns, rows, t("no-priors"))];
};

export const priorsOf: Page = async ({ key, again }) => {
  const found = await read("patients/{patient_key}/priors", { patient_key: key });
  const said = el("span", { role: "status", class: "muted" });
  const ask = button(t("ask-priors"), () => {
    send("patients/{patient_key}/priors", { patient_key: key }).then(again, (error: unknown) => {
      said.replaceChildren(error instanceof ApiError ? error.message : t("no-answer"));
    });
  });
  const rows = found.studies.map((s) => [
    s.acquired,
    s.study_key ? link(`#/studies/${s.study_key}`, s.study_key) : null,
    state(s.state),
    `${s.arrived_images} / ${s.expected_images}`,
    s.attempts,
    s.same_patient === false ? t("another-record") : s.problem || null,
  ]);
  const columns = [t("acquired"), t("study"), t("state"), t("images"), t("attempts"), t("error")];
  const left = refused(found.counts);
  return [
    el("h1", {}, t("priors")),
    el("p", {}, link(`#/patients/${key}`, key), " ", state(found.state), ` ${found.problem}`),
    el("p", { class: "row" }, mayOperate() ? ask : null, said),
    table(t("oldest-first"), columns, rows, t("none-fetched")),
    left ? el("p", {}, `${t("not-fetched")}: ${left}`) : el("p", {}, ""),
  ];
};
