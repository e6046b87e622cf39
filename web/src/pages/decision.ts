/** One item of the quarantine or identity inbox: both sides beside one another, and the decisions that it admits. */

import { ApiError, read, send } from "../api";
import type { PostPath, QuarantineItem } from "../api";
import { button, confirmed, el, field, link } from "../dom";
import { t } from "../i18n";
import type { MessageKey } from "../i18n";
import type { Page } from "../router";
import { mayOperate } from "../session";

const LABELS: Record<string, [MessageKey, MessageKey]> = {
  discard: ["discard", "discard-question"],
  release: ["release", "release-question"],
  replace: ["replace", "replace-question"],
  merge: ["merge", "merge-question"],
};

export const decision: Page = async ({ key }) => {
  const item = await read("quarantine/{key}", { key });
  return [
    el("h1", {}, `${t("decide")}: ${item.kind}`),
    el("p", {}, item.reason),
    el("p", { class: "muted" }, item.remedy),
    item.study_key ? el("p", {}, `${t("study")} `, link(`#/studies/${item.study_key}`, item.study_key)) : el("p", {}, ""),
    sides(item.compared ?? {}),
    mayOperate() ? choices(item) : el("p", { class: "muted" }, t("operator-decides")),
  ];
};

function sides(compared: Record<string, Record<string, unknown>>): HTMLElement {
  const names = Object.keys(compared);
  const keys = [...new Set(names.flatMap((name) => Object.keys(compared[name] ?? {})))];
  const shown = (name: string, key: string): string => {
    const value = compared[name]?.[key];
    return value === null || value === undefined || value === "" ? "-" : typeof value === "string" ? value : JSON.stringify(value);
  };
  const side = (name: string): HTMLElement =>
    el(
      "section",
      {},
      el("h2", {}, name),
      el(
        "dl",
        {},
        ...keys.flatMap((key) => {
          const differs = names.some((other) => shown(other, key) !== shown(name, key));
          return [el("dt", { class: "muted" }, key), el("dd", differs ? { class: "differs" } : {}, shown(name, key))];
        }),
      ),
    );
  return el("div", { class: "sides" }, ...names.map(side));
}

function choices(item: QuarantineItem): HTMLElement {
  const said = el("p", { class: "error", role: "alert" });
  const done = (): void => {
    location.hash = "#/quarantine";
  };
  const refused = (error: unknown): void => said.replaceChildren(error instanceof ApiError ? error.message : String(error));
  const act = (path: PostPath, parameters: Record<string, string>, question: string): void => {
    void confirmed(question).then((yes) => {
      if (yes) send(path, { key: item.key, ...parameters } as never).then(done, refused);
    });
  };
  const row = el("p", { class: "row" });
  if (item.kind === "incomplete" || item.kind === "unusable") row.append(button(t("go-on"), () => act("quarantine/{key}/complete", {}, t("go-on-question"))));
  for (const action of item.actions.filter((a) => a in LABELS)) {
    const [label, question] = LABELS[action] as [MessageKey, MessageKey];
    row.append(button(t(label), () => act("quarantine/{key}/resolve", { action }, t(question))));
  }
  return el("section", { "aria-label": t("decide") }, row, item.actions.includes("assign") ? assign(act) : null, said);
}

function assign(act: (path: PostPath, parameters: Record<string, string>, question: string) => void): HTMLElement {
  const id = el("input", { required: "", autocomplete: "off" });
  const issuer = el("input", { autocomplete: "off" });
  const form = el("form", { class: "row" }, field(t("patient-id"), id), field(t("issuer"), issuer), el("button", {}, t("assign")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act("quarantine/{key}/resolve", { action: "assign", patient_id: id.value, issuer: issuer.value }, t("assign-question"));
  });
  return form;
}
