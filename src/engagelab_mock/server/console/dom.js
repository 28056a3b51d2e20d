// What the views are made of. Text only ever becomes a text node: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

export function el(name, given = {}, ...children) {
  const made = name === "svg" || name === "rect" ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "value") { made.value = value; made.defaultValue = value; }
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((each) => each !== undefined && each !== null && each !== false));
  return made;
}

export const button = (label, act, given = {}) => el("button", { type: "button", "data-key": label, onclick: act, ...given }, label);

export const select = (name, label, values, value = "") => el("select", { name, "aria-label": label, "data-key": name },
  el("option", { value: "" }, label),
  values.map((each) => el("option", { value: each, selected: each === value }, each)));

export const input = (name, label, given = {}) => el("input", { name, "aria-label": label, placeholder: label, "data-key": name,
  autocomplete: "off", ...given });

// A form whose fields become an object of those that are filled in.
export function form(act, ...children) {
  const made = el("form", { class: "acts" }, ...children);
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    act(Object.fromEntries([...new FormData(made)].filter(([, value]) => value !== "")), made);
  });
  return made;
}

// Replace what an element shows; the fields, open parts and focus of the user stay as they are.
export function swap(target, ...fresh) {
  const keyed = (node) => [...node.querySelectorAll("[data-key]")];
  const before = new Map(keyed(target).map((each, at) => [name(each, at), each]));
  const focused = [...before].find(([, each]) => each === document.activeElement)?.[0];
  const at = document.activeElement?.selectionStart;
  target.replaceChildren(...fresh.flat(Infinity));
  keyed(target).forEach((each, index) => {
    const old = before.get(name(each, index));
    if (!old) return;
    if (old.tagName === "DETAILS") each.open = old.open;
    if ("value" in old && old.tagName !== "BUTTON" && (old.value !== old.defaultValue || old.tagName === "SELECT")) each.value = old.value;
    if (name(each, index) === focused) {
      each.focus({ preventScroll: true });
      if (typeof at === "number" && each.setSelectionRange && /^(text|search)$/.test(each.type)) each.setSelectionRange(at, at);
    }
  });
}

// A row has its own key; a field's key is that of the part that it is in, as each message has the same fields.
const name = (each) => `${each.closest("[data-part]")?.dataset.part ?? ""} ${each.dataset.key}`;

export const time = (seconds) => {
  const moment = new Date(seconds * 1000);
  return el("time", { datetime: moment.toISOString(), title: moment.toLocaleString() }, moment.toLocaleTimeString());
};

export const span = (kind, ...children) => el("span", { class: kind }, ...children);

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = el("textarea", {}, text);
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}
