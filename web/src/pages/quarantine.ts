/** What waits for a person, the oldest first. */

import { read } from "../api";
import { el, link, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";

export const quarantine: Page = async () => {
  const items = await read("quarantine", {});
  const rows = items.map((q) => [
    q.since.slice(0, 16).replace("T", " "),
    q.kind,
    q.study_key ? link(`#/studies/${q.study_key}`, q.study_key) : null,
    q.reason,
    q.remedy,
    link(`#/quarantine/${q.key}`, t("decide")),
  ]);
  const columns = [t("since"), t("kind"), t("study"), t("what-was-wrong"), t("what-to-do"), t("decide")];
  return [el("h1", {}, t("quarantine")), table(t("waits"), columns, rows, t("nothing-waits"))];
};
