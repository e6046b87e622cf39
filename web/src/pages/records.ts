/** Records that were merged: who said so, and undoing it. */

import { ApiError, read, send } from "../api";
import type { Merge } from "../api";
import { button, confirmed, el, link, table } from "../dom";
import type { Child } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";
import { mayOperate } from "../session";

export const records: Page = async ({ again }) => {
  const lines = await read("merges", {});
  const said = el("p", { role: "status", class: "error" });
  const undo = (merge: Merge): Child => {
    if (merge.unmade) return `${moment(merge.unmade)} ${merge.unmade_by}`;
    return mayOperate() ? button(t("unmerge"), () => void unmerge(merge, again, said)) : null;
  };
  const rows = lines.map((m) => [
    link(`#/patients/${m.surviving}`, m.surviving),
    m.retired,
    m.retired_issuers.join(", "),
    moment(m.made),
    m.made_by,
    undo(m),
  ]);
  const columns = [t("surviving"), t("retired"), t("issuer"), t("when"), t("who"), t("undone")];
  return [el("h1", {}, t("records")), el("p", { class: "muted" }, t("records-caption")), said, table(t("newest-first"), columns, rows, t("no-merge"))];
};

async function unmerge(merge: Merge, again: () => void, said: HTMLElement): Promise<void> {
  if (!(await confirmed(t("unmerge-question", { retired: merge.retired, surviving: merge.surviving })))) return;
  await send("patients/{patient_key}/unmerge", { patient_key: merge.retired }).then(again, (error: unknown) => {
    said.replaceChildren(error instanceof ApiError ? error.message : t("no-answer"));
  });
}

function moment(at: string): string {
  return at.slice(0, 19).replace("T", " ");
}
