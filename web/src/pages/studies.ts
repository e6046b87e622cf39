/** All studies with their state and reason, the newest arrival first. */

import { read } from "../api";
import type { Parameters } from "../api";
import { button, el, field, link, select, state, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";

const PAGE = 100;
const STATES = ["receiving", "complete", "deidentified", "measured", "recorded", "encoded", "delivered", "committed", "published", "quarantined", "failed", "superseded", "retracted", "discarded"];

export const studies: Page = async ({ options }) => {
  const wanted = options.get("state") ?? "";
  const offset = Number(options.get("from") ?? 0);
  const asked = { limit: PAGE + 1, offset, state: wanted || null } as Parameters<"studies", "get">;
  const lines = await read("studies", asked);
  const rows = lines.slice(0, PAGE).map((s) => [
    link(`#/studies/${s.study_key}`, s.study_key),
    s.patient_key ? link(`#/patients/${s.patient_key}`, s.patient_key) : null,
    s.acquired,
    state(s.state),
    s.revision,
    s.instances,
    s.reason || null,
  ]);
  const go = (from: number, only: string): void => {
    location.hash = `#/studies?${new URLSearchParams({ from: String(from), state: only }).toString()}`;
  };
  const choice = select([["", t("all-states")], ...STATES.map((s): [string, string] => [s, s])], wanted, (value) => go(0, value));
  const columns = [t("study"), t("patient"), t("acquired"), t("state"), t("revision"), t("images"), t("reason")];
  return [
    el("h1", {}, t("studies")),
    el("p", { class: "row" }, field(t("state"), choice)),
    table(t("newest-first"), columns, rows, t("no-study")),
    el(
      "p",
      { class: "row" },
      offset > 0 ? button(t("newer"), () => go(Math.max(0, offset - PAGE), wanted)) : null,
      lines.length > PAGE ? button(t("older"), () => go(offset + PAGE, wanted)) : null,
    ),
  ];
};
