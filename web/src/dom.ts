/** Elements from text only: nothing that a server sends is ever parsed as HTML. */

import { t } from "./i18n";

export type Child = Node | string | number | null | undefined;

export function el<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  for (const child of children) {
    if (child !== null && child !== undefined) node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(name: string, attributes: Record<string, string | number> = {}, ...children: Child[]): SVGElement {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  for (const child of children) if (child !== null && child !== undefined) node.append(child instanceof Node ? child : String(child));
  return node;
}

export function table(caption: string, columns: string[], rows: Child[][], empty: string): HTMLElement {
  if (rows.length === 0) return el("p", { class: "muted" }, empty);
  const head = el("tr", {}, ...columns.map((column) => el("th", { scope: "col" }, column)));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell ?? "-"))));
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, ...body)),
  );
}

/** A table with a button that puts it on the clipboard, tab-separated. */
export function copyable(made: HTMLElement): HTMLElement {
  const shown = made.querySelector("table");
  if (!shown) return made;
  const said = el("span", { role: "status", class: "muted" });
  const copy = button(t("copy-table"), () => {
    const lines = [...shown.rows].map((row) => [...row.cells].map((cell) => cell.textContent?.trim() ?? "").join("\t"));
    void navigator.clipboard.writeText(lines.join("\n")).then(
      () => said.replaceChildren(t("copied")),
      () => said.replaceChildren(t("copy-refused")),
    );
  });
  return el("div", { class: "copyable" }, made, el("p", { class: "row" }, copy, said));
}

export function link(href: string, text: string): HTMLElement {
  return el("a", { href }, text);
}

export function state(value: string): HTMLElement {
  return el("span", { class: `state state-${value}` }, value);
}

export function ml(value: number | null | undefined): string {
  return value === null || value === undefined ? "-" : value.toFixed(1);
}

export function button(label: string, act: () => void, attributes: Record<string, string> = {}): HTMLButtonElement {
  const made = el("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", act);
  return made;
}

let counted = 0;

/** A labelled control. */
export function field<E extends HTMLElement>(label: string, control: E): HTMLElement {
  control.id ||= `f${(counted += 1)}`;
  return el("span", { class: "field" }, el("label", { for: control.id }, label), control);
}

export function select(options: [value: string, text: string][], chosen: string, onChange: (value: string) => void): HTMLSelectElement {
  const made = el("select", {}, ...options.map(([value, text]) => el("option", { value }, text)));
  made.value = chosen;
  made.addEventListener("change", () => onChange(made.value));
  return made;
}

export function slider(bounds: { min: number; max: number; step: number }, value: number, onInput: (value: number) => void): HTMLInputElement {
  const made = el("input", { type: "range", min: String(bounds.min), max: String(bounds.max), step: String(bounds.step) });
  made.value = String(value);
  made.addEventListener("input", () => onInput(Number(made.value)));
  return made;
}

export function checkbox(label: string, on: boolean, onChange: (on: boolean) => void, mark = ""): HTMLElement {
  const box = el("input", { type: "checkbox" });
  box.checked = on;
  box.addEventListener("change", () => onChange(box.checked));
  return el("label", { class: "check" }, box, mark ? el("span", { class: `mark mark-${mark}` }) : null, label);
}

/** Ask before something is done; resolves to whether it was confirmed. */
export function confirmed(question: string): Promise<boolean> {
  return new Promise((resolve) => {
    const dialog = el("dialog", { "aria-label": question }, el("p", {}, question));
    const close = (answer: boolean): void => {
      dialog.close();
      dialog.remove();
      resolve(answer);
    };
    dialog.append(el("p", { class: "row" }, button(t("yes"), () => close(true), { class: "primary" }), button(t("no"), () => close(false))));
    dialog.addEventListener("cancel", () => close(false));
    document.body.append(dialog);
    dialog.showModal();
  });
}
