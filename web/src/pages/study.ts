/** One study: facts, measurements, deliveries, why it counted as complete, and what an operator may do. */

import { read, send } from "../api";
import type { Study } from "../api";
import { button, confirmed, el, link, state, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";
import { mayOperate } from "../session";
import { lesions } from "./measurements";

export const study: Page = async ({ key, again }) => {
  const s = await read("studies/{study_key}", { study_key: key });
  const facts = table(
    t("study"),
    [t("patient"), t("acquired"), t("state"), t("revision"), t("images"), t("reason")],
    [[s.patient_key ? link(`#/patients/${s.patient_key}`, s.patient_key) : null, s.acquired, state(s.state), s.revision, s.instances, s.reason || null]],
    "",
  );
  const deliveries = table(
    t("deliveries"),
    [t("destination"), t("object"), t("revision"), t("state"), t("attempts"), t("error")],
    s.deliveries.map((d) => [d.destination, d.object, d.revision, state(d.state), d.attempts, d.error || null]),
    t("nothing-sent"),
  );
  const waiting = s.quarantine.map((q) => el("p", { class: "error" }, link(`#/quarantine/${q.key}`, q.reason), ` ${q.remedy}`));
  const evidence = el("details", {}, el("summary", {}, t("why-complete")), el("pre", {}, JSON.stringify(s.evidence, null, 2)));
  const nodes: Node[] = [el("h1", {}, `${t("study")} ${s.study_key}`), ...waiting, facts, actions(s, again)];
  return [...nodes, ...(s.result ? [lesions([s.result])] : []), deliveries, evidence];
};

function actions(s: Study, again: () => void): HTMLElement {
  const said = el("span", { role: "status", class: "muted" });
  const act = (label: string, question: string, run: () => Promise<unknown>): HTMLElement =>
    button(label, () => {
      void confirmed(question).then((yes) => {
        if (yes) run().then(again, (error: unknown) => said.replaceChildren(error instanceof Error ? error.message : String(error)));
      });
    });
  const key = { study_key: s.study_key };
  return el(
    "p",
    { class: "row no-print" },
    s.result && s.patient_key ? el("a", { class: "primary", href: `#/images/${s.patient_key}?study=${s.study_key}` }, t("images-2d")) : null,
    mayOperate() ? act(t("replay"), t("replay-question"), () => send("studies/{study_key}/replay", key)) : null,
    mayOperate() && s.state === "receiving" ? act(t("complete"), t("complete-question"), () => send("studies/{study_key}/complete", key)) : null,
    mayOperate() && s.state === "receiving" ? act(t("hold"), t("hold-question"), () => send("studies/{study_key}/hold", key)) : null,
    said,
  );
}
