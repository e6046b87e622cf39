/** The studies of a patient on a line of time, with response category, baseline and nadir. */

import type { History } from "../api";
import { svg } from "../dom";
import { t } from "../i18n";
import { seconds } from "./series";

const WIDTH = 1000;
const SIDE = 60;

export function timeline(history: History, chosen: string): SVGElement {
  const dated = history.studies.flatMap((s) => (s.result ? [{ key: s.study_key, result: s.result }] : []));
  const times = dated.map((d) => seconds(d.result.timepoint.acquired));
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const at = (time: number): number => (last > first ? SIDE + ((time - first) / (last - first)) * (WIDTH - 2 * SIDE) : WIDTH / 2);
  const marks = dated.map(({ key, result }) => {
    const { timepoint } = result;
    const kind = timepoint.is_baseline ? "baseline" : timepoint.is_nadir ? "nadir" : "";
    const what = [timepoint.is_baseline ? t("baseline") : "", timepoint.is_nadir && !timepoint.is_baseline ? t("nadir") : ""].filter(Boolean).join(" ");
    const classes = [kind, result.response, key === chosen ? "chosen" : ""].filter(Boolean).join(" ");
    const x = at(seconds(timepoint.acquired));
    return svg(
      "a",
      { href: `#/studies/${key}`, class: classes, "aria-label": `${timepoint.acquired} ${result.response} ${what}` },
      svg("circle", { cx: x, cy: 34, r: 8 }),
      svg("text", { x, y: 16, "text-anchor": "middle", "font-weight": "bold" }, result.response === "baseline" ? "" : result.response),
      svg("text", { x, y: 60, "text-anchor": "middle", class: "faint" }, timepoint.acquired),
      svg("text", { x, y: 75, "text-anchor": "middle" }, what),
    );
  });
  return svg("svg", { class: "timeline", viewBox: `0 0 ${WIDTH} 80`, role: "group", "aria-label": t("timeline") }, svg("line", { x1: SIDE / 2, x2: WIDTH - SIDE / 2, y1: 34, y2: 34 }), ...marks);
}
