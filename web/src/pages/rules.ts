/** The rules simulator: what other rules of completeness would have decided of past studies. */

import { ApiError, read, send } from "../api";
import type { Simulated } from "../api";
import { el, field, link, state, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";
import { mayOperate } from "../session";

export const rules: Page = async () => {
  const present = await read("rules", {});
  const text = el("textarea", { spellcheck: "false" });
  text.value = JSON.stringify(present, null, 2);
  const outcome = el("div", { "aria-live": "polite" });
  const form = el("form", {}, field(t("rules-json"), text), el("p", { class: "row" }, el("button", { class: "primary" }, t("simulate"))));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void simulate(text.value).then((nodes) => outcome.replaceChildren(...nodes));
  });
  return [el("h1", {}, t("rules")), el("p", { class: "muted" }, t("rules-note")), mayOperate() ? form : el("pre", {}, text.value), outcome];
};

async function simulate(text: string): Promise<Node[]> {
  try {
    const found = (await send("rules/simulate", {}, JSON.parse(text))) as Simulated;
    const rows = found.studies.map((s) => [link(`#/studies/${s.study_key}`, s.study_key), s.acquired, state(s.state), s.decision, s.reason || null, s.differences.join("; ") || null]);
    const columns = [t("study"), t("acquired"), t("state"), t("would-be"), t("reason"), t("difference")];
    return [el("h2", {}, t("simulated", { all: found.simulated, different: found.different })), table(t("nothing-changed"), columns, rows, t("no-study"))];
  } catch (error) {
    const said = error instanceof ApiError ? error.message : t("no-json", { error: String(error) });
    return [el("p", { class: "error", role: "alert" }, said)];
  }
}
