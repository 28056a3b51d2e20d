// One function a view: it reads its data, and returns its elements. `page` is the console itself.
import { read } from "/console/api.js";
import { acts, button, el, form, ordered, span, stamp, time } from "/console/dom.js";

let known = null;  // the names of faults and scenarios
const names = async () => known ??= Promise.all([read("/_mock/faults"), read("/_mock/scenarios")])
  .then(([faults, scenarios]) => ({ faults: faults.map((each) => each.name), scenarios: scenarios.map((each) => each.name) }));

export const path = (...parts) => parts.map(encodeURIComponent).join("/");
export const to = (view, id, label, given = {}) => el("a", { href: `#/${view}/${encodeURIComponent(id)}`, ...given }, label);
export const mark = (good) => span(good ? "good" : "bad", good ? "✔" : "✘");

// Phones and mailboxes
export async function phones(page) {
  const { messages, more } = await read("/_mock/messages", page.listed("search", "to"));
  if (!messages.length) return nothing(page);
  const groups = Map.groupBy(messages, (each) => each.to);
  return [el("div", { class: "phones" }, [...groups].map(([recipient, theirs]) => el("section", { class: "card" },
    el("h2", {}, recipient.includes("@") ? "✉ " : "☎ ", recipient), theirs.map((each) => bubble(page, each)),
    recipient.includes("@") ? null : el("div", { "data-part": recipient }, form("reply", ({ body = "STOP" }, made) => {
      made.reset();
      page.act("POST", "/_mock/events", { event: "uplink_message", fields: { sender: recipient, body } });
    }))))), older(page, more)];
}
function bubble(page, each) {
  const copied = each.code && each.arrived !== null;
  return el("article", { class: "bubble", "data-part": each.message_id, "data-code": copied ? each.code : null },
    el("p", { class: "soft" }, time(each.arrived ?? each.accepted), ` ${each.arrived_over || each.channel} · `,
      to("messages", each.message_id, each.template || "message", { class: "item", "data-key": "item" })),
    each.subject ? el("p", {}, el("strong", {}, each.subject)) : null,
    each.arrived === null ? el("p", { class: "wait" }, /^(delivered|read|verified(_\w+)?)$/.test(each.ending) ? "on its way" : "does not arrive")
      : el("p", {}, each.text),
    copied ? el("p", {}, span("code", each.code), " ", button("copy", () => page.copy(each.code), { "aria-label": `copy ${each.code}` })) : null,
    code(page, each));
}
function code(page, each) {
  if (each.verified) return each.statuses.includes("verified") ? el("p", { class: "good" }, "verified") : el("p", { class: "soft" }, "its scenario enters the code");
  if (!each.verifiable || !each.code) return null;
  if (each.expires !== null && each.expires <= page.now()) return el("p", { class: "soft" }, "the code is expired");
  const enter = (body) => page.act("POST", `/_mock/messages/${path(each.message_id)}/code`, body);
  return el("div", {}, form("code", (given, made) => { enter(given); made.reset(); }),
    acts(button("right", () => enter({})), button("wrong", () => enter({ code: each.code === "000000" ? "111111" : "000000" }))));
}

// Messages
export async function messages(page) {
  if (page.id) return message(page);
  const { messages: found, more, total } = await read("/_mock/messages", page.listed("search", "to", "template", "status"));
  if (!total) return nothing(page);
  return [el("p", { class: "soft" }, `${found.length}${more ? " newest" : ""} of ${total}`), found.map((each) =>
    to("messages", each.message_id, [time(each.accepted), el("strong", {}, each.to), el("span", {}, chain(each)),
      el("span", {}, each.code ? span("soft", `code ${each.code}`) : "", each.verified ? span("good", " verified") : ""),
      each.not_acknowledged ? span("more bad", `${each.not_acknowledged} not acknowledged`) : null],
    { class: "row item", "data-key": each.message_id })), older(page, more)];
}
const chain = (each) => [span("soft", `${each.template} `), each.statuses.join(" → ") || "nothing sent yet"];

async function message(page) {
  const url = `/_mock/messages/${path(page.id)}`;
  const [each, { faults }] = await Promise.all([read(url), names()]);
  const next = (given) => page.act("POST", `${url}/next`, given);
  return el("div", { "data-part": page.id },
    el("p", {}, to("messages", "", "← messages")), el("h2", {}, `${each.to} · ${each.template}`),
    el("p", { class: "soft" }, `message ${each.message_id}, by ${each.call}${each.channel ? `, over ${each.channel}` : ""}, accepted `, time(each.accepted)),
    bubble(page, each),
    el("h3", {}, "Timeline"),
    each.callbacks.map((callback) => line(callback)),
    each.due.map((due) => el("p", { class: "row wait" }, time(due.at), el("span", {}, due.statuses.join(", ")),
      el("span", {}, due.kind === "retry" ? `attempt ${due.number}, ` : due.kind === "expiry" ? "unless the code is entered, " : "", later(due.at)))),
    el("h3", {}, "What comes next"),
    acts(button("the next one now", () => next({})), each.may_follow.map((status) => button(status, () => next({ status })))),
    form("next", next, { lists: { faults } }), form("seconds", (given) => page.act("POST", `${url}/delay`, given), { label: "delay what is to come" }),
    orders(page, each, url),
    failing(page, { to: each.to }, "make the next send to it fail"), copies(page, url, each));
}
// The order of the callbacks to come, which changes at once, and one in which to send again those that were sent.
function orders(page, each, url) {
  const due = each.due.filter((one) => one.kind === "event").map((one) => [one.statuses.join("+"), one.statuses.join("+")]);
  const sent = new Map(each.callbacks.map((one) => [one.id, one.statuses.join("+")]));
  const order = [...new Set([...page.orders.get(page.id) ?? [], ...sent.keys()])].filter((id) => sent.has(id));
  const part = (title, ...children) => el("section", { "data-part": title }, el("h3", {}, title),
    el("p", { class: "soft" }, "Drag one, or move it down and up by J and K."), children);
  return [due.length < 2 ? null : part("The order of what is to come", ordered(due, (statuses) => page.act("POST", `${url}/order`, { statuses }))),
    order.length < 2 ? null : part("Send again in another order", ordered(order.map((id) => [id, sent.get(id)]), (ids) => page.orders.set(page.id, ids)),
      button("send in this order", () => page.act("POST", `${url}/resend`, { callbacks: page.orders.get(page.id) ?? order })))];
}
const failing = (page, rule, label) => acts(button(label, () => page.act("POST", "/_mock/rules", { ...rule, error: 5016, times: 1 })));
function copies(page, url, shown) {
  const as = async (form) => page.copy((await read(`${url}/copy`, { form })).text);
  return acts("copy as ", ["pytest", "curl", "token"].map((each) => button(each, () => page.try(() => as(each)))),
    button("JSON", () => page.copy(JSON.stringify(shown, null, 2))));
}

// Callbacks
export async function callbacks(page) {
  if (page.id) return callback(page);
  const { callbacks: found, more } = await read("/_mock/callbacks", page.listed("search", "status", "outcome", "to"));
  if (!found.length && !page.filtered()) return nothing(page);
  return [found.length ? found.map((each) => line(each)) : el("p", {}, "nothing fits"), older(page, more)];
}
function line(each) {
  const good = each.outcome === "acknowledged", pending = each.outcome === "pending";
  const what = each.type === "refusal" ? "not accepted" : each.statuses.join(", ") || "ping";
  const parts = [time(each.at), el("strong", {}, pending ? span("wait", "…") : mark(good), ` ${what}`),
    el("span", {}, each.to ?? "", span("soft", ` ${each.receiver}`), each.faults.length ? span("wait", ` with ${each.faults.join(", ")}`) : ""),
    el("span", {}, each.type === "refusal" ? "" : `${each.http_status ?? each.outcome} ${each.elapsed_ms} ms${each.attempts > 1 ? ` · attempt ${each.attempts}` : ""}`),
    each.error ? span("more bad", each.error, each.retry_at ? [" · again ", later(each.retry_at)] : "", each.hint ? span("soft", ` · ${each.hint}`) : "") : null];
  return each.id ? to("callbacks", each.id, parts, { class: "row item", "data-key": each.id, "data-resend": each.id })
    : el("div", { class: "row" }, parts);
}
const later = (at) => el("span", { class: "due", "data-at": String(at) });
async function callback(page) {
  const url = `/_mock/callbacks/${path(page.id)}`;
  const [each, { faults }] = await Promise.all([read(url), names()]);
  const last = each.tries.at(-1);
  const send = (given) => page.act("POST", `${url}/send`, given, (sent) => sent.callback && page.go(`#/callbacks/${sent.callback}`));
  return el("div", { "data-part": page.id, "data-resend": page.id },
    el("p", {}, to("callbacks", "", "← callbacks"), each.message_id ? [" · ", to("messages", each.message_id, "its message")] : ""),
    el("h2", {}, `${each.statuses.join(", ") || "ping"} to ${each.receiver}`), line({ ...each, id: "" }),
    acts(button("resend", () => send({})), button("duplicate", () => send({ fault: "duplicate" })), button("in a minute", () => send({ after: 60 }))),
    form("edit", ({ headers = "", body = "", after = 0, ...given }) => send({ ...given, after, body: body === last.body ? undefined : body,
      headers: changed(last.headers, headers) }), { lists: { faults }, filled: { headers: listed(last.headers), body: last.body } }),
    copies(page, url, each),
    [...each.tries].reverse().map((attempt) => shown(page, attempt)));
}
const listed = (headers) => headers.map((pair) => `${pair.join(": ")}\n`).join("");
// The headers that differ from those before, by name; null for one that was removed.
function changed(before, text) {
  const lines = text.split("\n").map((line) => line.match(/^([^:]+):(.*)$/)).filter(Boolean);
  const now = new Map(lines.map(([, name, value]) => [name.trim(), value.trim()]));
  const gone = before.filter(([name]) => !now.has(name)).map(([name]) => [name, null]);
  return Object.fromEntries([...gone, ...[...now].filter(([name, value]) => !before.some((pair) => pair[0] === name && pair[1] === value))]);
}
function shown(page, attempt) {
  const answered = attempt.http_status === null ? `no answer: ${attempt.outcome}` : `${attempt.http_status} ${attempt.reason}`;
  const chosen = page.given.get("attempt") === String(attempt.number);
  return el("section", { class: chosen ? "card chosen" : "card" },
    el("h3", {}, el("a", { href: `#/callbacks/${path(page.id)}?attempt=${attempt.number}`, "data-key": `attempt ${attempt.number}` }, `Attempt ${attempt.number}`), ", ", time(attempt.at), `: ${answered} after ${attempt.elapsed_ms} ms`),
    attempt.error ? el("p", { class: "bad" }, attempt.error) : null,
    attempt.signature ? signature(attempt.signature) : el("p", { class: "soft" }, "not signed"),
    el("h3", {}, "Request"), el("pre", { tabindex: 0 }, `${attempt.method} ${attempt.url}\n`, listed(attempt.headers), "\n", pretty(attempt.body)),
    el("h3", {}, "Answer"), el("pre", { tabindex: 0 }, answered, "\n", listed(attempt.answer_headers), "\n", attempt.answer));
}
const pretty = (body) => { try { return JSON.stringify(JSON.parse(body), null, 2); } catch { return body; } };
const signature = ({ reason, detail, segments, signed }) => [
  el("h3", {}, "Signature ", span(reason === "valid" ? "good" : "bad", reason), span("soft", ` ${detail}`)),
  el("table", {}, el("thead", {}, el("tr", {}, ["part", "sent", "expected", "right"].map((each) => el("th", { scope: "col" }, each)))),
    el("tbody", {}, segments.map((each) => el("tr", {}, el("td", {}, each.name), el("td", { class: "mono", "data-label": "sent" }, each.sent || "—"),
      el("td", { class: "mono", "data-label": "expected" }, each.expected || "—"), el("td", {}, each.right === null ? span("soft", "?") : mark(each.right)))))),
  el("p", { class: "soft" }, "HMAC-SHA256 with the secret over ", el("code", {}, signed))];

// Receivers, clock, rules
export async function receivers(page) {
  const { receivers: found } = await read("/_mock/receivers");
  return [found.map((each) => el("section", { class: "card", "data-part": String(each.number) },
    el("h2", {}, each.address), each.description ? el("p", {}, each.description) : null,
    el("p", {}, span({ normal: "good", abnormal: "bad" }[each.state] ?? "soft", each.state),
      ` · ${each.username ? `signed as ${each.username}` : "not signed"} · ${each.events.join(", ") || "all events"} · ${each.limit === null ? "no limit" : `${each.limit} s to answer`}`),
    el("p", {}, span("good", `${each.acknowledged} acknowledged`), ", ", span(each.failed ? "bad" : "soft", `${each.failed} not`), " ", sparkline(each.recent)),
    acts(button("ping", () => page.act("POST", `/_mock/receivers/${each.number}/ping`, {})),
      button("check", () => page.act("POST", "/_mock/check", { receiver: each.number }, () => page.go("#/check")))))),
  el("h3", {}, found.length ? "Send callbacks elsewhere" : "There is no receiver yet: where do callbacks go?"),
  el("p", { class: "soft" }, "Your app does it by PUT /v1/sandbox/webhook; engagelab-mock serve by --callback-url.")];
}
function sparkline(recent) {
  const most = Math.max(1, ...recent.map((each) => each.elapsed_ms));
  const bar = (each) => "▁▂▃▄▅▆▇█"[Math.min(7, Math.floor(8 * each.elapsed_ms / most))];
  return el("span", { role: "img", "aria-label": `its last ${recent.length} answers, at most ${most} ms` },
    recent.map((each) => span(each.outcome === "acknowledged" ? "good" : "bad", bar(each))));
}

export async function clock(page) {
  const now = await read("/_mock/clock");
  const live = now.kind === "live";
  const move = (body) => page.act("POST", "/_mock/clock/advance", body);
  return [el("h2", {}, time(now.time), span("soft", ` ${now.kind}${now.frozen ? ", stands still" : `, ${now.speed} times as fast`}`)),
    acts(live ? button(now.frozen ? "resume" : "freeze", () => page.act("POST", `/_mock/clock/${now.frozen ? "resume" : "freeze"}`, {})) : null,
      button("until the next event", () => page.act("POST", "/_mock/clock/next", {})),
      [["1 min", { minutes: 1 }], ["5 min", { minutes: 5 }], ["1 h", { hours: 1 }], ["1 day", { days: 1 }]].map(([label, body]) => button(`+ ${label}`, () => move(body)))),
    form("seconds", move, { label: "advance" }),
    live ? form("speed", (given) => page.act("POST", "/_mock/clock/speed", given)) : null,
    el("h3", {}, now.pending ? `${now.pending} to come` : "Nothing is to come"),
    now.next.map((each) => el("p", { class: "row" }, time(each.at), later(each.at), el("span", {}, each.what)))];
}

export async function rules(page) {
  const [{ rules: found }, { scenarios }] = await Promise.all([read("/_mock/rules"), names()]);
  return [el("p", {}, "A rule makes the sends that fit it fail, or play another scenario."),
    failing(page, {}, "make the next send fail"),
    form("rule", (given) => page.act("POST", "/_mock/rules", given), { lists: { scenarios } }),
    found.map((rule) => el("div", { class: "row", "data-part": rule.id }, el("strong", {}, rule.to ?? "any recipient"), el("span", {}, rule.template ?? "any template"),
      el("span", {}, rule.error ? `error ${rule.error}` : rule.scenario, rule.times ? `, ${rule.times} times` : ""),
      button("remove", () => page.act("DELETE", `/_mock/rules/${path(rule.id)}`, {})))),
    found.length ? null : el("p", { class: "soft" }, "There is no rule.")];
}
const older = (page, more) => more ? acts(button("older", () => page.more())) : null;
function nothing(page) {
  if (page.filtered()) return el("p", {}, "Nothing fits.");
  const made = stamp("empty");
  for (const each of made.querySelectorAll("pre")) {
    each.textContent = each.textContent.replaceAll("HERE", location.origin);
    each.after(button("copy", () => page.copy(each.textContent), { "data-key": each.textContent }));
  }
  return made.firstElementChild;
}
