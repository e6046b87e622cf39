/** Elements from text only: nothing that a server sends is ever parsed as HTML. */

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

export function table(caption: string, columns: string[], rows: Child[][], empty: string): HTMLElement {
  if (rows.length === 0) return el("p", { class: "muted" }, empty);
  const head = el("tr", {}, ...columns.map((column) => el("th", { scope: "col" }, column)));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell ?? "-"))));
  return el(
    "div",
    { class: "scroll" },
    el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, ...body)),
  );
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
