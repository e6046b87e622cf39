/** The table of measurements that the pages of a study and of a patient share. */

import type { Change, Result } from "../api";
import { copyable, ml, table } from "../dom";
import { t } from "../i18n";

export function lesions(results: Result[]): HTMLElement {
  const rows = results.flatMap((r) =>
    r.lesions.map((lesion) => {
      const m = lesion.measurement;
      const sd = m?.volume_sd_ml[r.target];
      const change = lesion.changes.find((c) => c.reference === "previous");
      return [
        `${r.timepoint.order}${r.timepoint.is_baseline ? ` ${t("baseline")}` : ""}${r.timepoint.is_nadir && !r.timepoint.is_baseline ? ` ${t("nadir")}` : ""}`,
        r.timepoint.acquired,
        lesion.tracking_id + (lesion.is_new ? ` (${t("new")})` : ""),
        ml(m?.volumes_ml.whole ?? 0),
        ml(m?.volumes_ml.core ?? 0),
        ml(m?.volumes_ml.enhancing ?? 0),
        ml(m?.volumes_ml.oedema ?? 0),
        sd === undefined ? null : `±${(1.96 * sd).toFixed(1)}`,
        m?.longest ? `${m.longest.length_mm.toFixed(0)} x ${m.perpendicular ? m.perpendicular.length_mm.toFixed(0) : "-"}` : null,
        change ? changed(change) : null,
        lesion.response + (r.preliminary ? ` (${t("preliminary")})` : ""),
        t("ai-unverified"),
      ];
    }),
  );
  const columns = [
    t("time-point"),
    t("acquired"),
    t("lesion"),
    `${t("whole")} ml`,
    `${t("core")} ml`,
    `${t("enhancing")} ml`,
    `${t("oedema")} ml`,
    t("uncertainty-95"),
    t("diameters-mm"),
    t("since-last"),
    t("response"),
    t("origin"),
  ];
  return copyable(table(t("measurements-caption"), columns, rows, t("no-lesion")));
}

function changed(change: Change): string {
  const sign = change.absolute_ml > 0 ? "+" : "";
  const percent = change.relative === null ? "" : ` (${sign}${Math.round(change.relative * 100)} %)`;
  return `${sign}${ml(change.absolute_ml)} ml${percent}${change.reliable ? "" : `, ${t("within-error")}`}`;
}
