/** The ledger of anonymised exports, and one more on request. */

import { read, send } from "../api";
import { button, confirmed, el, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";
import { mayOperate } from "../session";

export const exportsPage: Page = async ({ again }) => {
  const lines = await read("exports", {});
  const said = el("span", { role: "status", class: "muted" });
  const make = button(t("export-now"), () => {
    void confirmed(t("export-question")).then((yes) => {
      if (yes) send("exports", {}).then(again, (error: unknown) => said.replaceChildren(String(error)));
    });
  });
  const rows = lines.map((e) => [e.export_key, e.created.slice(0, 19).replace("T", " "), e.counts["patients"] ?? 0, e.counts["scans"] ?? 0, e.sha256.slice(0, 16)]);
  return [
    el("h1", {}, t("exports")),
    el("p", { class: "row" }, mayOperate() ? make : null, said),
    table(t("ledger"), [t("export"), t("since"), t("patients"), t("time-points"), "SHA-256"], rows, t("no-export")),
  ];
};
