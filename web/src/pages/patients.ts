/** The patients on record. */

import { read } from "../api";
import { el, link, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";

export const patients: Page = async () => {
  const lines = await read("patients", {});
  const rows = lines.map((p) => [link(`#/patients/${p.patient_key}`, p.patient_key), p.tumour_type, p.time_points, p.first, p.last]);
  const columns = [t("patient"), t("tumour-type"), t("time-points"), t("first"), t("last")];
  return [el("h1", {}, t("patients")), table(t("own-keys"), columns, rows, t("no-patient"))];
};
