// The control API: one call, and the stream of changes.

const KEY = "engagelab-mock token";
let stored = "";
try { stored = sessionStorage.getItem(KEY) ?? ""; } catch { /* without storage it is asked for again */ }

export function keep(token) {
  stored = token;
  try { sessionStorage.setItem(KEY, token); } catch { /* the same */ }
}

export class Refused extends Error {
  constructor(status, said) { super(said); this.status = status; }
}

async function request(method, path, body, signal) {
  const headers = { Accept: "*/*" };
  if (method === "GET") headers["X-Engagelab-Console"] = "1";
  if (stored) headers.Authorization = `Bearer ${stored}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const given = { method, headers, signal, cache: "no-store", credentials: "omit", redirect: "error" };
  const answer = await fetch(path, body === undefined ? given : { ...given, body: JSON.stringify(body) });
  if (answer.ok) return answer;
  let said = `${answer.status} ${answer.statusText}`;
  try { said = (await answer.json()).message ?? said; } catch { /* not JSON */ }
  throw new Refused(answer.status, said);
}

export const read = async (path, query = {}) => {
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== undefined));
  return (await request("GET", given.size ? `${path}?${given}` : path)).json();
};

export const call = async (method, path, body) => (await request(method, path, body)).json();

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// Follow the stream for ever. It goes on after the last event; a server that is silent for 4 seconds has gone.
export async function follow(changed, state) {
  let last = "", wait = 250;
  for (;;) {
    const gone = new AbortController();
    let watch;
    const alive = () => { clearTimeout(watch); watch = setTimeout(() => gone.abort(), 4000); };
    try {
      alive();
      const reader = (await request("GET", `/_mock/stream?follow=&after=${encodeURIComponent(last)}`, undefined, gone.signal)).body
        .pipeThrough(new TextDecoderStream()).getReader();
      wait = 250;
      for (let text = ""; ;) {
        const { done, value } = await reader.read();
        if (done) break;
        alive();
        state("connected");
        const events = (text + value).split("\n\n");
        text = events.pop();
        for (const event of events) {
          const lines = Object.fromEntries(event.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
          if (!lines.data) continue;
          last = lines.id;
          changed(JSON.parse(lines.data));
        }
      }
    } catch (error) {
      if (error instanceof Refused && error.status === 401) { state("locked"); return; }
    }
    clearTimeout(watch);
    gone.abort();
    state("stale");
    await sleep(wait);
    wait = Math.min(wait * 2, 2000);
  }
}
