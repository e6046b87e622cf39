import "./style.css";
import { ApiError, signIn } from "./api";
import { el } from "./dom";
import { pageAt } from "./router";

const REFRESH_MS = 5000;
const main = document.getElementById("main") as HTMLElement;
let shown = "";

function explain(error: unknown): Node[] {
  if (error instanceof ApiError && error.status === 401) return [askForToken()];
  const text = error instanceof ApiError ? error.message : "The gateway does not answer. It is asked again in a moment.";
  return [el("p", { class: "error", role: "alert" }, text)];
}

function askForToken(): HTMLElement {
  const input = el("input", { type: "password", id: "token", autocomplete: "off", required: "" });
  const form = el("form", {}, el("label", { for: "token" }, "Your token"), input, el("button", {}, "Sign in"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(input.value);
    void show();
  });
  return form;
}

async function show(): Promise<void> {
  const nodes = await pageAt(location.hash, () => void show()).catch(explain);
  main.replaceChildren(...nodes);
  for (const anchor of document.querySelectorAll("nav a")) {
    const here = anchor.getAttribute("href") === (location.hash || "#/");
    if (here) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  if (shown !== location.hash) main.focus({ preventScroll: true });
  shown = location.hash;
}

/** Lists follow the gateway by themselves; a page with a curve is redrawn only when one asks for it. */
function refresh(): void {
  const [, room = "", key = ""] = location.hash.split("/");
  if (document.visibilityState === "visible" && !(room === "patients" && key) && !main.querySelector("form")) void show();
}

window.addEventListener("hashchange", () => void show());
window.setInterval(refresh, REFRESH_MS);
void show();
