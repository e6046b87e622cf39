/** What waits for a person, with the decisions. */

import { get, post } from "../api";
import type { QuarantineItem } from "../api";
import { el, link, table } from "../dom";

export async function quarantine(again: () => void): Promise<Node[]> {
  const items = await get<QuarantineItem[]>("quarantine");
  const act = (path: string, label: string, question: string): HTMLElement => {
    const button = el("button", { type: "button" }, label);
    button.addEventListener("click", () => {
      if (window.confirm(question)) post(path).then(again, (error: unknown) => window.alert(String(error)));
    });
    return button;
  };
  const rows = items.map((q) => [
    q.since.slice(0, 16).replace("T", " "),
    q.kind,
    q.study_key ? link(`#/studies/${q.study_key}`, q.study_key) : null,
    q.reason,
    q.remedy,
    el(
      "span",
      {},
      q.kind === "incomplete" || q.kind === "unusable"
        ? act(`quarantine/${q.key}/complete`, "Go on", "Go on with this study as it is?")
        : null,
      ...q.actions
        .filter((action) => action !== "assign")
        .map((action) => act(`quarantine/${q.key}/resolve?action=${action}`, label(action), question(action))),
      q.actions.includes("assign") ? el("span", { class: "muted" }, `timepoint quarantine resolve ${q.key} --as assign`) : null,
    ),
  ]);
  const columns = ["since", "kind", "study", "what was wrong", "what to do", "decide"];
  return [el("h1", {}, "Quarantine"), table("What waits for a person, the oldest first", columns, rows, "Nothing waits for a decision.")];
}

const DECISIONS: Record<string, [string, string]> = {
  discard: ["Leave out", "Leave this out? Its bytes stay kept."],
  release: ["Belongs here", "Does this belong to the study after all? The study is looked at again."],
  replace: ["Take the new copy", "Put the new copy in place of the stored one?"],
};

function label(action: string): string {
  return DECISIONS[action]?.[0] ?? action;
}

function question(action: string): string {
  return DECISIONS[action]?.[1] ?? `${action}?`;
}
