/** The audit trail, newest first, and a check of its whole chain. */

import { ApiError, read, send } from "../api";
import type { Parameters } from "../api";
import { button, el, link, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";

const PAGE = 100;

export const audit: Page = async ({ options }) => {
  const before = options.get("before");
  const asked = { limit: PAGE, before: before ? Number(before) : null } as Parameters<"audit", "get">;
  const links = await read("audit", asked);
  const said = el("span", { role: "status" });
  const verify = button(t("verify-chain"), () => {
    send("audit/verify", {}).then(
      (found) => said.replaceChildren(t("chain-holds", { links: (found as { links: number }).links })),
      (error: unknown) => said.replaceChildren(error instanceof ApiError ? error.message : String(error)),
    );
  });
  const rows = links.map((a) => [a.seq, a.at.slice(0, 19).replace("T", " "), a.actor, a.action, a.subject || null, Object.keys(a.detail).length ? JSON.stringify(a.detail) : null]);
  const oldest = links.at(-1)?.seq ?? 1;
  const columns = ["#", t("when"), t("who"), t("what"), t("subject"), t("detail")];
  return [
    el("h1", {}, t("audit")),
    el("p", { class: "row" }, verify, said),
    table(t("newest-first"), columns, rows, t("nothing-there")),
    oldest > 1 ? el("p", {}, link(`#/audit?before=${oldest}`, t("older"))) : el("p", {}, ""),
  ];
};
