/** All studies, the newest arrival first. */

import { get } from "../api";
import type { StudyLine } from "../api";
import { el, link, state, table } from "../dom";

export async function studies(): Promise<Node[]> {
  const lines = await get<StudyLine[]>("studies");
  const rows = lines.map((s) => [
    link(`#/studies/${s.study_key}`, s.study_key),
    s.patient_key ? link(`#/patients/${s.patient_key}`, s.patient_key) : null,
    s.acquired,
    state(s.state),
    s.instances,
    s.reason || null,
  ]);
  const columns = ["study", "patient", "acquired", "state", "images", "reason"];
  return [el("h1", {}, "Studies"), table("Newest arrival first", columns, rows, "No study has arrived yet.")];
}
