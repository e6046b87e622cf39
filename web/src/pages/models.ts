/** The installed models and their cards. */

import { read } from "../api";
import { el, link, table } from "../dom";
import { t } from "../i18n";
import type { Page } from "../router";

export const models: Page = async () => {
  const lines = await read("models", {});
  const rows = lines.map((m) => [link(`#/models/${m.name}`, m.name), m.version, m.kind, (m.weights_sha256 ?? "").slice(0, 16)]);
  return [el("h1", {}, t("models")), table(t("installed"), [t("model"), t("version"), t("kind"), "SHA-256"], rows, t("no-model"))];
};

export const model: Page = async ({ key }) => {
  const found = await read("models/{name}", { name: key });
  return [
    el("h1", {}, `${t("model")} ${key}`),
    el("pre", {}, found.text),
    el("details", {}, el("summary", {}, t("data-sheet")), el("pre", {}, JSON.stringify(found.card, null, 2))),
  ];
};
