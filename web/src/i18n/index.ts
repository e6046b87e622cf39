/** The words of the pages in four languages. What the gateway itself writes (reasons, remedies) stays as it is. */

import { en } from "./en";

export type MessageKey = keyof typeof en;
export type Messages = Record<MessageKey, string>;

export const LANGUAGES: Record<string, string> = { en: "English", de: "Deutsch", fr: "Français", ja: "日本語" };

const TABLES: Record<string, () => Promise<Messages>> = {
  en: async () => en,
  de: async () => (await import("./de")).de,
  fr: async () => (await import("./fr")).fr,
  ja: async () => (await import("./ja")).ja,
};
const KEPT = "timepoint-language";
let words: Messages = en;
let chosen = "en";

/** The language that was chosen before, else the browser's, else English. */
export async function startLanguage(): Promise<void> {
  const wanted = [localStorage.getItem(KEPT) ?? "", ...navigator.languages.map((tag) => tag.slice(0, 2))];
  await useLanguage(wanted.find((tag) => tag in TABLES) ?? "en");
}

export async function setLanguage(tag: string): Promise<void> {
  localStorage.setItem(KEPT, tag);
  await useLanguage(tag);
}

export function language(): string {
  return chosen;
}

async function useLanguage(tag: string): Promise<void> {
  words = (await TABLES[tag]?.()) ?? en;
  chosen = tag in TABLES ? tag : "en";
  document.documentElement.lang = chosen;
}

/** A message; `{name}` in it is filled in from `values`. */
export function t(key: MessageKey, values: Record<string, string | number> = {}): string {
  return words[key].replace(/\{(\w+)\}/g, (_all, name: string) => String(values[name] ?? ""));
}
