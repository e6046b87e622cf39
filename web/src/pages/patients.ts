/** The patients on record. */

import { get } from "../api";
import type { PatientLine } from "../api";
import { el, link, table } from "../dom";

export async function patients(): Promise<Node[]> {
  const lines = await get<PatientLine[]>("patients");
  const rows = lines.map((p) => [link(`#/patients/${p.patient_key}`, p.patient_key), p.tumour_type, p.time_points, p.first, p.last]);
  return [el("h1", {}, "Patients"), table("Under our own keys", ["patient", "tumour type", "time points", "first", "last"], rows, "No patient is on record yet.")];
}
