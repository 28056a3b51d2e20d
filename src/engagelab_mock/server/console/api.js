// The control API: one call, and the stream of changes.

const KEY = "engagelab-mock token";
const storage = (use) => { try { return use(sessionStorage) ?? ""; } catch { return ""; } };  // without it, the page asks again
let stored = storage((kept) => kept.getItem(KEY));
export function keep(token) { stored = token; storage((kept) => kept.setItem(KEY, token)); }

export class Refused extends Error {
  constructor(status, said) { super(said); this.status = status; }
}

async function request(method, path, body, signal) {
  const headers = { Accept: "*/*", ...method === "GET" && { "X-Engagelab-Console": "1" },
    ...stored && { Authorization: `Bearer ${stored}` }, ...body && { "Content-Type": "application/json" } };
  const given = { method, headers, signal, body: body && JSON.stringify(body) };
  const answer = await fetch(path, { ...given, cache: "no-store", credentials: "omit", redirect: "error" });
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
          const [, id, data] = /^id: (.*)\ndata: (.*)$/.exec(event) ?? [];
          if (!data) continue;
          last = id;
          changed(JSON.parse(data));
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
