import "./style/tokens.css";
import "./style/base.css";
import "./style/pages.css";
import { ApiError, read } from "./api";
import { button, el, field } from "./dom";
import { frame, markHere, sayConnected } from "./frame";
import { startLanguage, t } from "./i18n";
import { follow, stop } from "./live";
import { follows, pageAt, placeOf } from "./router";
import type { Place } from "./router";
import { current, signIn, whoAmI } from "./session";

const main = document.getElementById("main") as HTMLElement;
let shown: Place | null = null;
let visit = 0;
let left: (() => void)[] = [];

/** Draw the page of the present address; a page that was overtaken by another one is dropped. */
async function show(): Promise<void> {
  const place = placeOf(location.hash);
  const mine = (visit += 1);
  const leave: (() => void)[] = [];
  const nodes = await pageAt(place, () => void show(), (act) => leave.push(act)).catch(explain);
  if (mine !== visit) {
    for (const act of leave) act();
    return;
  }
  for (const act of left) act();
  left = leave;
  const same = shown?.room === place.room && shown.key === place.key;
  const focused = same ? focusedIn(main) : -1;
  main.replaceChildren(...nodes);
  main.setAttribute("aria-busy", "false");
  document.title = `${main.querySelector("h1")?.textContent ?? ""} - Timepoint`;
  markHere(place.room);
  if (!same) {
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  } else if (focused >= 0) controls(main)[focused]?.focus({ preventScroll: true });
  shown = place;
}

function controls(place: HTMLElement): HTMLElement[] {
  return [...place.querySelectorAll<HTMLElement>("a, button, input, select, textarea")];
}

function focusedIn(place: HTMLElement): number {
  return controls(place).indexOf(document.activeElement as HTMLElement);
}

function explain(error: unknown): Node[] {
  if (error instanceof ApiError && error.status === 401) {
    stop();
    return [askForToken()];
  }
  const text = error instanceof ApiError ? error.message : t("no-answer");
  if (!(error instanceof ApiError)) console.warn(error);
  return [el("h1", {}, t("not-shown")), el("p", { class: "error", role: "alert" }, text), button(t("again"), () => void show())];
}

function askForToken(): HTMLElement {
  const input = el("input", { type: "password", autocomplete: "off", required: "" });
  const said = el("p", { class: "error", role: "alert" });
  const form = el("form", { class: "sign-in" }, el("h1", {}, t("sign-in")), field(t("your-token"), input), el("button", { class: "primary" }, t("sign-in")), said);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(input.value).then(start, (error: unknown) => said.replaceChildren(error instanceof ApiError ? error.message : t("no-answer")));
  });
  return form;
}

/** `?study=` (our key or the Study Instance UID) or IHE IID's `?requestType=STUDY&studyUID=` leads to the patient. */
async function followDeepLink(): Promise<void> {
  const asked = new URLSearchParams(location.search);
  const wanted = asked.get("study") ?? asked.get("studyUID");
  if (!wanted) return;
  const found = await read("studies/{study_key}", { study_key: wanted });
  const to = found.patient_key && found.result ? `#/patients/${found.patient_key}?study=${found.study_key}` : `#/studies/${found.study_key}`;
  history.replaceState(null, "", `${location.pathname}${to}`);
}

async function start(): Promise<void> {
  try {
    await whoAmI();
    frame(current(), () => void start());
    follow(
      (moved) => {
        if (shown && follows(shown, moved.changed) && !main.querySelector("form, dialog[open]")) void show();
      },
      sayConnected,
    );
    await followDeepLink();
    await show();
  } catch (error) {
    frame(null, () => void start());
    main.replaceChildren(...explain(error));
  }
}

window.addEventListener("hashchange", () => void show());
window.addEventListener("pagehide", stop);
void startLanguage().then(start);
