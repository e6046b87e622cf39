/** What goes to each destination, and the dead letters with their replay. */

import { read, send } from "../api";
import type { Delivery, Parameters } from "../api";
import { button, confirmed, el, field, link, select, state, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";
import { mayOperate } from "../session";

const UNCOMMITTED = "uncommitted";
const STATES = ["pending", "delivered", "committed", "failed", "superseded"];

export const deliveries: Page = async ({ options, again }) => {
  const wanted = options.get("state") ?? "";
  const asked = (wanted === UNCOMMITTED ? { uncommitted: true } : { state: wanted || null }) as Parameters<"deliveries", "get">;
  const [places, lines] = await Promise.all([read("destinations", {}), read("deliveries", asked)]);
  const summary = table(
    t("destinations"),
    [t("destination"), t("kind"), t("waiting"), t("uncommitted"), t("failed")],
    places.map((p) => [p.name, p.kind, p.waiting, p.uncommitted, p.failed]),
    t("no-destination"),
  );
  const dead = lines.filter((d) => d.state === "failed");
  const rows = lines.map((d) => [
    d.updated.slice(0, 19).replace("T", " "),
    d.destination,
    link(`#/studies/${d.study_key}`, d.study_key),
    `${d.object} (${d.revision})`,
    state(d.state),
    d.attempts,
    d.error || null,
    d.next_try ? d.next_try.slice(0, 19).replace("T", " ") : null,
  ]);
  const choice = select([["", t("all-states")], ...STATES.map((s): [string, string] => [s, s]), [UNCOMMITTED, t("uncommitted")]], wanted, (value) => {
    location.hash = `#/deliveries${value ? `?state=${value}` : ""}`;
  });
  const columns = [t("moved"), t("destination"), t("study"), t("object"), t("state"), t("attempts"), t("error"), t("next-try")];
  return [
    el("h1", {}, t("deliveries")),
    summary,
    deadLetters(dead, again),
    el("p", { class: "row" }, field(t("state"), choice)),
    table(t("last-moved-first"), columns, rows, t("nothing-sent")),
  ];
};

function deadLetters(dead: Delivery[], again: () => void): HTMLElement {
  const studies = [...new Set(dead.map((d) => d.study_key))];
  const said = el("span", { role: "status", class: "muted" });
  const replay = (key: string): HTMLElement | null =>
    mayOperate()
      ? button(t("replay"), () => {
          void confirmed(t("replay-question")).then((yes) => {
            if (yes) send("studies/{study_key}/replay", { study_key: key }).then(again, (error: unknown) => said.replaceChildren(String(error)));
          });
        })
      : null;
  const rows = studies.map((key) => {
    const own = dead.filter((d) => d.study_key === key);
    return [link(`#/studies/${key}`, key), own.map((d) => `${d.object} > ${d.destination}`).join(", "), own[0]?.error ?? null, replay(key)];
  });
  return el("section", {}, el("h2", {}, t("dead-letters")), table(t("given-up"), [t("study"), t("object"), t("error"), t("replay")], rows, t("no-dead-letter")), said);
}
