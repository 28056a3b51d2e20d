// The console itself: the view on the screen, when it is read again, the keys, and the result of the last action.
import { call, follow, keep, read, Refused } from "/console/api.js";
import { button, el, form, span, stamp, swap } from "/console/dom.js";
import * as judging from "/console/judging.js";
import * as shown from "/console/views.js";

const views = { ...shown, ...judging };
const VIEWS = { phones: ["messages"], messages: ["messages"], callbacks: ["messages"], receivers: ["messages", "receivers"],
  clock: ["messages", "clock"], rules: ["rules"], check: ["check", "receivers"], explored: ["explorations"] };
const $ = (id) => document.getElementById(id);
const PAGE = 50, MOST = 500;
const page = {
  view: "phones", id: "", given: new URLSearchParams(), limit: PAGE,
  orders: new Map(),  // by message, the order in which to send its callbacks again
  query(...names) { return Object.fromEntries(names.map((name) => [name, this.given.get(name) ?? ""])); },
  listed(...names) { return { ...this.query(...names), limit: this.limit }; },
  now: () => now() ?? Date.now() / 1000,
  filtered() { return this.given.size > 0; },
  go(hash) { if (location.hash === hash) show(); else location.hash = hash; },
  more() { this.limit = Math.min(this.limit + PAGE, MOST); refresh(); },
  async copy(text) {
    const done = await navigator.clipboard?.writeText(text).then(() => "copied: ", () => "");
    say([done || "copy this: ", el("code", {}, text)]);
  },
  async try(work) { try { return await work(); } catch (error) { failed(error); } },
  // Do something, and show the call that it stands for.
  act(method, path, body, then) {
    return this.try(async () => {
      const command = `curl -X ${method} -d ${quoted(JSON.stringify(body))} ${location.origin}${path}`;
      const shown = [el("code", {}, command), " ", button("copy", () => page.copy(command))];
      try {
        const answer = await call(method, path, body);
        const token = answer.token ? [" ", el("code", {}, answer.token), " ", button("copy the token", () => page.copy(answer.token))] : "";
        say([span("good", "✔ "), shown, token, problem(answer)]);
        await refresh();
        if (then) then(answer);
      } catch (error) {
        if (error instanceof Refused && error.status !== 401) say([span("bad", `✘ ${error.message} `), shown], true);
        else throw error;
      }
    });
  },
};
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const problem = (answer) => span("bad", ` ${answer.problem ?? answer.error ?? answer.delivery?.error ?? ""}`);
function say(what, bad = false) {
  const said = $("said");
  said.replaceChildren(...[what, " ", button("close", () => { said.hidden = true; })].flat(Infinity));
  said.hidden = false;
  said.toggleAttribute("data-bad", bad);
}
function failed(error) {
  if (error instanceof Refused && error.status === 401) state("locked");
  else if (error instanceof Refused) say([`✘ ${error.message}`], true);
  else state("stale");  // the server has gone; the stream notices when it is back
}

// The view in the URL: #/messages/ID?search=…
function show() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, id = ""] = path.split("/");
  page.view = view in VIEWS ? view : "phones";
  try { page.id = decodeURIComponent(id); } catch { page.id = ""; }
  page.given = new URLSearchParams(query);
  page.limit = PAGE;
  last = "";
  swap($("views"), Object.keys(VIEWS).map((name) => el("a", { href: `#/${name}`, "aria-current": name === page.view ? "page" : null }, name)));
  filters();
  window.scrollTo(0, 0);
  refresh();
}
function filters() {
  const bar = $("filters"), name = `${page.view}-filters`;
  bar.hidden = Boolean(page.id) || !$(name);
  if (bar.hidden || bar.dataset.view !== page.view) {
    bar.dataset.view = page.view;
    bar.replaceChildren(...bar.hidden ? [] : [el("input", { id: "search", name: "search", type: "search", "aria-label": "search", placeholder: "search" }), stamp(name)]);
  }
  for (const field of bar.elements) if (field !== document.activeElement) field.value = page.given.get(field.name) ?? "";
}

let typing;
$("filters").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const given = new URLSearchParams([...new FormData($("filters"))].filter(([, value]) => value));
    location.replace(`#/${page.view}${given.size ? `?${given}` : ""}`);
  }, 150);
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
// Read the view again. While one reading is under way, the changes that follow wait for it, and are read at once.
let reading = null, again = false, last = "";
function refresh() {
  if (document.querySelector(".dragged")) setTimeout(refresh, 200);
  else if (reading) again = true;
  else reading = readView();
  return reading;
}
const place = () => `${page.view}/${page.id}?${page.given}`;
async function readView() {
  do {
    again = false;
    const here = place();
    try {
      const made = el("div", {}, await views[page.view](page));
      if (here !== place()) again = true;
      else if (made.outerHTML !== last) {
        last = made.outerHTML;
        swap($("view"), ...made.childNodes);
      }
    } catch (error) {
      if (error instanceof Refused && error.status === 404 && page.id) swap($("view"), el("p", { class: "bad" }, error.message));
      else failed(error);
    }
    tick();
  } while (again);
  reading = null;
}

// The server's clock, and the countdowns by it.
let clock = null, readAt = 0;
const now = () => clock && clock.time + (clock.frozen ? 0 : (performance.now() - readAt) / 1000 * clock.speed);
async function readClock() {
  try { [clock, readAt] = [await read("/_mock/clock"), performance.now()]; } catch { /* the stream shows it */ }
  tick();
}
function tick() {
  if (!clock) return;
  const pace = clock.frozen ? " stands still" : clock.speed === 1 ? "" : ` × ${clock.speed}`;
  $("now").textContent = `${new Date(now() * 1000).toLocaleTimeString()}${pace}`;
  for (const each of document.querySelectorAll(".due")) {
    const left = Math.round(Number(each.dataset.at) - now());
    const unit = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([size]) => Math.abs(left) >= size * (size > 1 ? 2 : 1)) ?? [1, "s"];
    each.textContent = left > 0 ? `in ${Math.round(left / unit[0])} ${unit[1]}` : "now";
  }
}
setInterval(tick, 1000);

// The stream
function state(name) {
  if (name === "locked") ask();
  const link = $("link");
  if (link.dataset.state === name) return;
  link.dataset.state = name;
  link.textContent = name === "stale" ? `stale since ${new Date().toLocaleTimeString()}` : name;
}
function changed({ changed: kinds, restarted }) {
  if (restarted) say(["The server was restarted. Everything was read again."]);
  if (restarted || kinds.includes("clock")) readClock();
  if (restarted || VIEWS[page.view].some((kind) => kinds.includes(kind))) refresh();
}
function ask() {
  if ($("token")) return;
  swap($("view"), form("locked", ({ token }) => { keep(token); last = ""; $("view").replaceChildren(); start(); }));
  $("token").focus();
}
function start() { readClock(); show(); follow(changed, state); }
// Keys
function step(by) {
  const all = [...$("view").querySelectorAll(".item")], at = all.indexOf(document.activeElement);
  all[Math.max(0, Math.min(all.length - 1, at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by))]?.focus();
}
const near = (selector, all = selector) => document.activeElement.closest(selector) ?? $("view").querySelector(all);
const ACTS = {
  j: () => step(1), k: () => step(-1), "/": () => $("search")?.focus(), "?": () => $("help").showModal(),
  u: () => { if (page.id) page.go(`#/${page.view}`); },
  c: () => { if (near("[data-code]")) page.copy(near("[data-code]").dataset.code); },
  e: () => near("[data-code]")?.querySelector("input[name=code]")?.focus(),
  r() {
    const id = near("[data-resend]", "div[data-resend]")?.dataset.resend;
    if (id) page.act("POST", `/_mock/callbacks/${encodeURIComponent(id)}/send`, {}, (sent) => page.id && page.go(`#/callbacks/${sent.callback}`));
  },
};
Object.keys(VIEWS).forEach((name, at) => { ACTS[String(at + 1)] = () => page.go(`#/${name}`); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
  } else if (Object.hasOwn(ACTS, event.key)) {
    event.preventDefault();
    ACTS[event.key]();
  }
});
$("keys").addEventListener("click", () => $("help").showModal());
window.addEventListener("hashchange", show);
start();
