// The views that judge a receiver: the checks, and the explorations of this process.
import { read } from "/console/api.js";
import { button, el, form, span } from "/console/dom.js";
import { mark, path, to } from "/console/views.js";

export async function check(page) {
  const [run, { receivers }] = await Promise.all([read("/_mock/check", page.query("search", "verdict", "severity")), read("/_mock/receivers")]);
  const start = ({ receiver, only = "", ...given }) => page.act("POST", "/_mock/check",
    { ...given, receiver: Number(receiver), only: only.split(/[\s,]+/).filter(Boolean) });
  const counts = Object.entries(run.counts).map(([verdict, count]) => `${count} ${verdict.replaceAll("_", " ")}`).join(", ");
  return [receivers.length ? form("checks", start, { lists: { receivers: receivers.map((each) => [each.number, each.address]) } })
    : el("p", {}, "There is no receiver to check."),
  run.state === "none" ? el("p", {}, "Nothing was checked yet. A run sends normal callbacks, broken ones and attacks, and judges how the receiver reacts.")
    : el("section", { class: "card" },
      el("p", {}, el("strong", {}, run.state), ` · ${run.receiver} · ${run.finished} of ${run.total} checks, ${run.sent} callbacks, ${run.elapsed} s`),
      run.state === "running" ? el("p", {}, el("progress", { max: run.total, value: run.finished, "aria-label": "progress" }), ` ${run.running} `,
        button("cancel", () => page.act("DELETE", "/_mock/check", {}))) : null,
      el("p", {}, counts), run.problem ? el("p", { class: "bad" }, run.problem) : null),
  run.findings.map((each) => finding(page, each))];
}

const finding = (page, each) => el("details", { class: "card", "data-key": each.id, "data-part": each.id },
  el("summary", { class: "item", "data-key": "open" }, ["pass", "fail"].includes(each.verdict) ? mark(each.verdict === "pass") : span("wait", each.verdict),
    ` ${each.id} ${each.title} `, span("soft", `${each.severity} ${each.reason}`)),
  el("p", {}, "expected: ", each.expected), each.fix ? el("p", {}, "fix: ", each.fix) : null,
  each.token ? el("p", {}, el("code", {}, each.token), " ", button("copy the token", () => page.copy(each.token))) : null,
  each.repro ? [el("pre", { tabindex: 0 }, each.repro), button("copy", () => page.copy(each.repro))] : null,
  each.exchanges.map(({ sent, received }) => [el("pre", { tabindex: 0 }, sent), el("pre", { tabindex: 0 }, received)]));

export async function explored(page) {
  if (page.id) return exploration(page, await read(`/_mock/explorations/${path(page.id)}`));
  const { explorations: found } = await read("/_mock/explorations");
  if (!found.length) return el("p", {}, "This process has explored nothing. engagelab.explore(…) in a test with engagelab_server is listed here.");
  return [...found].reverse().map((each) => to("explored", String(each.number), summary(each), { class: "row item", "data-key": String(each.number) }));
}
const summary = (each) => [el("span", {}, `exploration ${each.number}`), span({ passed: "good", failed: "bad" }[each.verdict] ?? "wait", each.verdict),
  el("span", {}, `${each.schedules} of ${each.total} schedules, ${each.deliveries} callbacks, ${each.states} states`),
  each.failures.length ? span("more bad", `${each.failures[0].invariant}: ${each.failures[0].what}`) : null];
const exploration = (page, each) => el("div", { "data-part": page.id }, el("p", {}, to("explored", "", "← explorations")), el("div", { class: "row" }, summary(each)),
  each.notes.map((note) => el("p", { class: "soft" }, note)),
  each.failures.map((failure) => el("section", { class: "card" }, el("h3", {}, failure.invariant), el("p", { class: "bad" }, failure.what),
    el("p", {}, el("code", {}, failure.token), " ", button("copy the token", () => page.copy(failure.token))),
    el("pre", { tabindex: 0 }, failure.table))),
  el("h3", {}, "Its states"), each.picture ? [el("div", { class: "drawn", tabindex: 0 }, el("img", { src: `data:image/svg+xml,${encodeURIComponent(each.picture)}`, alt: "The graph of its states" })),
    el("details", { "data-key": "text" }, el("summary", {}, "as text"), el("pre", { tabindex: 0 }, each.graph))] : el("p", {}, "There is no graph while it runs, or without an observe."));
