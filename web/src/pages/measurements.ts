/** The table of measurements that the pages of a study and of a patient share. */

import type { Change, Result } from "../api";
import { ml, table } from "../dom";

export function lesions(results: Result[]): HTMLElement {
  const rows = results.flatMap((r) =>
    r.lesions.map((lesion) => {
      const v = lesion.measurement?.volumes_ml;
      const change = lesion.changes.find((c) => c.reference === "previous");
      return [
        `${r.timepoint.order}${r.timepoint.is_baseline ? " baseline" : ""}${r.timepoint.is_nadir && !r.timepoint.is_baseline ? " nadir" : ""}`,
        r.timepoint.acquired,
        lesion.tracking_id + (lesion.is_new ? " (new)" : ""),
        ml(v?.whole ?? 0),
        ml(v?.core ?? 0),
        ml(v?.enhancing ?? 0),
        ml(v?.oedema ?? 0),
        change ? changed(change) : null,
        lesion.response + (r.preliminary ? " (preliminary)" : ""),
      ];
    }),
  );
  const columns = ["time point", "acquired", "lesion", "whole ml", "core ml", "enhancing ml", "oedema ml", "change since last", "response"];
  return table("Measurements: AI, not verified", columns, rows, "No lesion was found by the algorithm.");
}

function changed(change: Change): string {
  const sign = change.absolute_ml > 0 ? "+" : "";
  const percent = change.relative === null ? "" : ` (${sign}${Math.round(change.relative * 100)} %)`;
  return `${sign}${ml(change.absolute_ml)} ml${percent}${change.reliable ? "" : ", within measurement error"}`;
}
