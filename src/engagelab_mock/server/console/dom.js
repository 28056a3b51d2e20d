// What the views are made of. Text only ever becomes a text node: nothing here reads markup.

export function el(name, given = {}, ...children) {
  const made = document.createElement(name);
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

// The content of one of the page's templates. A select with a list gets its options: names, or pairs of a value and a name.
export function stamp(name, lists = {}) {
  const made = document.getElementById(name).content.cloneNode(true);
  for (const each of made.querySelectorAll("[data-list]")) {
    const options = lists[each.dataset.list].map((option) => [option].flat());
    each.append(...options.map(([value, shown = value]) => el("option", { value }, shown)));
  }
  return made;
}

// A template's form. Its fields become an object of those that are filled in; `filled` has their first values.
export function form(name, act, { lists = {}, filled = {}, label = "" } = {}) {
  const made = stamp(name, lists), found = made.querySelector("form");
  for (const [field, value] of Object.entries(filled)) found.elements[field].value = found.elements[field].defaultValue = value;
  if (label) found.querySelector("button").append(label);
  found.addEventListener("submit", (event) => {
    event.preventDefault();
    const fields = [...found.elements].filter((each) => each.name && (each.type === "checkbox" || each.value !== ""));
    act(Object.fromEntries(fields.map((each) => [each.name,
      each.type === "checkbox" ? each.checked : each.type === "number" ? Number(each.value) : each.value])), found);
  });
  return made.firstElementChild;
}

// A list that the user puts in order, by dragging or by J and K: `done` gets the keys in their new order.
export function ordered(items, done) {
  const list = el("ol", { class: "order" }, items.map(([key, ...shown]) => el("li", { tabindex: 0, "data-key": `order ${key}`, "data-id": key }, shown)));
  const keys = () => [...list.children].map((each) => each.dataset.id);
  const follows = (one, other) => one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING;
  const pass = (item, other) => { if (follows(item, other)) other.after(item); else other.before(item); };
  list.addEventListener("keydown", ({ target, key }) => {
    const other = { J: target.nextElementSibling, K: target.previousElementSibling }[key];
    if (!other) return;
    pass(target, other);
    target.focus();
    done(keys());
  });
  list.addEventListener("pointerdown", (event) => {
    const item = event.target.closest("li"), before = String(keys());
    if (!item) return;
    list.setPointerCapture(event.pointerId);
    item.classList.add("dragged");
    list.onpointermove = ({ clientX, clientY }) => {
      const over = document.elementFromPoint(clientX, clientY)?.closest("li");
      if (over && over !== item && over.parentElement === list) pass(item, over);
    };
    list.onlostpointercapture = () => {
      list.onpointermove = null;
      item.classList.remove("dragged");
      if (String(keys()) !== before) done(keys());
    };
  });
  return list;
}

// Replace what an element shows; the fields, open parts and focus of the user stay as they are.
export function swap(target, ...fresh) {
  const keyed = (node) => [...node.querySelectorAll("[data-key]")];
  const before = new Map(keyed(target).map((each) => [name(each), each]));
  const focused = [...before].find(([, each]) => each === document.activeElement)?.[0];
  const at = document.activeElement?.selectionStart;
  target.replaceChildren(...fresh.flat(Infinity));
  for (const each of keyed(target)) {
    const old = before.get(name(each));
    if (!old) continue;
    if (old.tagName === "DETAILS") each.open = old.open;
    if (old.type === "checkbox") each.checked = old.checked;
    else if ("value" in old && old.tagName !== "BUTTON" && (old.value !== old.defaultValue || old.tagName === "SELECT")) each.value = old.value;
    if (name(each) === focused) {
      each.focus({ preventScroll: true });
      if (typeof at === "number" && each.setSelectionRange && /^(text|search)$/.test(each.type)) each.setSelectionRange(at, at);
    }
  }
}

// A row has its own key; a field's key is that of the part that it is in, as each message has the same fields.
const name = (each) => `${each.closest("[data-part]")?.dataset.part ?? ""} ${each.dataset.key}`;
export const span = (kind, ...children) => el("span", { class: kind }, ...children);
export const acts = (...children) => el("div", { class: "acts" }, ...children);
export const time = (seconds) => {
  const moment = new Date(seconds * 1000);
  return el("time", { datetime: moment.toISOString(), title: moment.toLocaleString() }, moment.toLocaleTimeString());
};
