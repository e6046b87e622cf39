/** What runs, what waits, how much room there is. */

import { read } from "../api";
import { el, state, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";

export const health: Page = async () => {
  const found = await read("health", {});
  const processes = found.processes.map((p) => [p.name, p.role, state(p.alive ? "alive" : "silent"), `${p.age_s.toFixed(0)} s`]);
  const studies = Object.entries(found.studies).map(([name, count]) => [state(name), count]);
  const waiting: [string, number][] = [
    [t("outbox"), found.waiting["outbox"] ?? 0],
    [t("quarantine"), found.waiting["quarantine"] ?? 0],
    [t("dead-letters"), found.waiting["failed_deliveries"] ?? 0],
  ];
  const low = found.disk.free_mb < found.disk.needed_mb;
  const disk = t("disk-line", { free: Math.round(found.disk.free_mb / 1024), total: Math.round(found.disk.total_mb / 1024), need: found.disk.needed_mb });
  return [
    el("h1", {}, t("health")),
    el("p", low ? { class: "error", role: "alert" } : {}, disk),
    table(t("processes"), [t("process"), t("role"), t("state"), t("last-sign")], processes, t("no-process")),
    table(t("studies"), [t("state"), t("count")], studies, t("no-study")),
    table(t("waiting"), [t("waiting"), t("count")], waiting, ""),
  ];
};
