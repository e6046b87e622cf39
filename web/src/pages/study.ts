/** One study: facts, measurements, deliveries and why it counted as complete. */

import { get } from "../api";
import type { Study } from "../api";
import { el, link, state, table } from "../dom";
import { lesions } from "./measurements";

export async function study(key: string): Promise<Node[]> {
  const s = await get<Study>(`studies/${encodeURIComponent(key)}`);
  const facts = table(
    "Study",
    ["patient", "acquired", "state", "revision", "images", "reason"],
    [[s.patient_key ? link(`#/patients/${s.patient_key}`, s.patient_key) : null, s.acquired, state(s.state), s.revision, s.instances, s.reason || null]],
    "",
  );
  const deliveries = table(
    "Deliveries",
    ["destination", "object", "revision", "state", "attempts", "error"],
    s.deliveries.map((d) => [d.destination, d.object, d.revision, state(d.state), d.attempts, d.error || null]),
    "Nothing has been sent yet.",
  );
  const evidence = el("details", {}, el("summary", {}, "Why it counted as complete"), el("pre", {}, JSON.stringify(s.evidence, null, 2)));
  return [el("h1", {}, `Study ${s.study_key}`), facts, ...(s.result ? [lesions([s.result])] : []), deliveries, evidence];
}
