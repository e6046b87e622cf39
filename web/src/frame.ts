/** What stands around every page: name, rooms, language, light or dark, who is signed in, and that results are AI. */

import type { Who } from "./api";
import { button, el, select } from "./dom";
import { LANGUAGES, language, setLanguage, t } from "./i18n";
import type { MessageKey } from "./i18n";
import { mayOperate, signOut } from "./session";

const CLINIC: [string, MessageKey][] = [
  ["patients", "patients"],
  ["studies", "studies"],
];
const OPERATORS: [string, MessageKey][] = [
  ["quarantine", "quarantine"],
  ["deliveries", "deliveries"],
  ["records", "records"],
  ["priors", "priors"],
  ["jobs", "jobs"],
  ["rules", "rules"],
  ["models", "models"],
  ["exports", "exports"],
  ["audit", "audit"],
  ["health", "health"],
];
const THEME = "timepoint-theme";
let connection: HTMLElement | null = null;

export function frame(who: Who | null, again: () => void): void {
  document.documentElement.dataset["theme"] = localStorage.getItem(THEME) ?? "system";
  const header = document.getElementById("frame") as HTMLElement;
  const rooms = who ? [...CLINIC, ...OPERATORS.filter(([room]) => room !== "audit" || mayOperate())] : [];
  connection = el("span", { class: "live", role: "status" });
  header.replaceChildren(
    el("a", { class: "skip", href: "#main" }, t("skip")),
    el("a", { class: "brand", href: "#/patients" }, "Timepoint"),
    el("nav", { "aria-label": t("rooms") }, ...rooms.map(([room, key]) => el("a", { href: `#/${room}` }, t(key)))),
    el("p", { class: "label" }, t("ai-label")),
    el("div", { class: "tools" }, connection, languageChoice(again), themeChoice(), who && who.csrf ? leave(who, again) : null),
  );
  header.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main")?.focus();
  });
}

export function markHere(room: string): void {
  for (const anchor of document.querySelectorAll("#frame nav a")) {
    if (anchor.getAttribute("href") === `#/${room}`) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
}

export function sayConnected(connected: boolean): void {
  connection?.replaceChildren(connected ? t("live") : t("not-live"));
  connection?.classList.toggle("off", !connected);
}

function languageChoice(again: () => void): HTMLElement {
  const chosen = select(Object.entries(LANGUAGES), language(), (value) => void setLanguage(value).then(again));
  chosen.setAttribute("aria-label", t("language"));
  return chosen;
}

function themeChoice(): HTMLElement {
  const options: [string, string][] = [
    ["system", t("theme-system")],
    ["light", t("theme-light")],
    ["dark", t("theme-dark")],
  ];
  const chosen = select(options, localStorage.getItem(THEME) ?? "system", (value) => {
    localStorage.setItem(THEME, value);
    document.documentElement.dataset["theme"] = value;
    window.dispatchEvent(new Event("themechange"));
  });
  chosen.setAttribute("aria-label", t("theme"));
  return chosen;
}

function leave(who: Who, again: () => void): HTMLElement {
  return button(`${t("sign-out")} (${who.name})`, () => void signOut().then(again));
}
