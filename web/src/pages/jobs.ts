/** The engine's jobs, with cancel and retry. */

import { read, send } from "../api";
import type { Job } from "../api";
import { button, el, state, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";
import { mayOperate } from "../session";

export const jobs: Page = async ({ again }) => {
  const lines = await read("jobs", {});
  const said = el("p", { class: "error", role: "alert" });
  const tell = (error: unknown): void => said.replaceChildren(error instanceof Error ? error.message : String(error));
  const act = (job: Job): HTMLElement | null => {
    if (!mayOperate()) return null;
    if (job.state === "failed") return button(t("retry"), () => void send("jobs/{job_id}/retry", { job_id: job.job_id }).then(again, tell));
    if (job.state === "queued" || job.state === "running") return button(t("cancel"), () => void send("jobs/{job_id}/cancel", { job_id: job.job_id }).then(again, tell));
    return null;
  };
  const time = (seconds: number): string => (seconds ? new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ") : "-");
  const rows = lines.map((j) => [j.job_id, j.kind, state(j.state), time(j.created_at), time(j.updated_at), j.error, act(j)]);
  const columns = [t("job"), t("kind"), t("state"), t("since"), t("moved"), t("error"), t("decide")];
  return [el("h1", {}, t("jobs")), table(t("jobs"), columns, rows, t("no-job")), said];
};
