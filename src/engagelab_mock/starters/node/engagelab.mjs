// A safe receiver of EngageLab's callbacks, for any server: Node 18.3 or newer, no packages.
// Its guide is docs/howto/node.md of engagelab-mock.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";

const { ENGAGELAB_WEBHOOK_USERNAME: username, ENGAGELAB_WEBHOOK_SECRET: secret } = process.env;
if (!username || !secret) throw new Error("set ENGAGELAB_WEBHOOK_USERNAME and ENGAGELAB_WEBHOOK_SECRET");

// --- Receive
/** Return the status to answer with. `signatures` are the values of X-CALLBACK-ID, `body` has the raw bytes. */
export function receive(signatures, body) {
  const text = body.toString();
  if (text === "" || text === "{}") return 200; // the address validation, unsigned in EngageLab's document
  if (signatures.length !== 1 || !isGenuine(signatures[0])) return 401;
  const rows = rowsOf(text);
  if (rows === null) return 400;
  const digest = createHash("sha256").update(body).digest("hex");
  // An error in `store` is answered with 500: nothing is stored, and EngageLab sends the callback again.
  return store({ at: now(), header: signatures[0], digest, rows }) ? 200 : 401;
}

// --- Signature
function isGenuine(header) {
  const parts = new Map(header.split(";").map((part) => part.trim().match(/^([^=]*)=?(.*)$/).slice(1)));
  const timestamp = parts.get("timestamp") ?? "";
  if (!/^[0-9]{1,12}$/.test(timestamp) || Math.abs(now() - Number(timestamp)) > 300) return false;
  const signed = `${timestamp}${parts.get("nonce") ?? ""}${username}`;
  const expected = Buffer.from(createHmac("sha256", secret).update(signed).digest("hex"));
  const given = Buffer.from(parts.get("signature") ?? "");
  const same = given.length === expected.length && timingSafeEqual(given, expected); // in constant time
  return same && parts.get("username") === username;
}

const now = () => Math.floor(Date.now() / 1000);

// --- Body
/** Return the rows of a body, or null if it has none. */
function rowsOf(text) {
  // An id has 19 digits, and a number of JavaScript keeps 15. So a long integer becomes a string before it is parsed.
  const tokens = /"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/g;
  const safe = text.replace(tokens, (token) => (/^-?[0-9]{16,}$/.test(token) ? `"${token}"` : token));
  try {
    const rows = JSON.parse(safe)?.rows;
    return Array.isArray(rows) ? rows : null;
  } catch {
    return null;
  }
}

// --- Status
// A status only replaces one of lower rank: neither the order of arrival nor a second delivery matters.
const RANK = new Map(
  [
    ...["plan", "target_valid", "target_invalid", "sent_failed", "sent", "delivered_failed", "delivered"],
    ...["verified_timeout", "verified_failed", "verified"],
  ].map((status, rank) => [status, rank]),
);

/** Keep the status of a row. Ignore a row of another kind, or with a status that is not known. */
function keep(row) {
  const id = row?.message_id;
  const given = row?.status?.message_status;
  const status = given === "sent_fail" ? "sent_failed" : given; // how newer documents spell it
  if ((typeof id !== "string" && typeof id !== "number") || !RANK.has(status)) return;
  const message = messages.get(String(id)) ?? { status: null, credits: 0 };
  if (RANK.get(status) <= (RANK.get(message.status) ?? -1)) return;
  const credits = message.credits + (status === "verified" ? 1 : 0); // a status is only raised to `verified` once
  messages.set(String(id), { status, credits });
}

// --- Store
// Each callback is one line of this file, on the disk before it is acknowledged. A start reads the file again.
// In your app, use two tables of your database, and one transaction for each callback.
const file = process.env.CALLBACKS_FILE ?? "callbacks.jsonl";
const messages = new Map();
const seen = new Map();
if (existsSync(file)) {
  for (const line of readFileSync(file, "utf8").split("\n")) {
    try {
      apply(JSON.parse(line));
    } catch {
      // A line that the end of the process has cut: that callback was not acknowledged.
    }
  }
}
const log = openSync(file, "a");

/** Store a callback. Tell whether its signature had no other body before. */
function store(callback) {
  // EngageLab does not sign the body: a genuine signature only counts with the body that it came with first.
  if ((seen.get(callback.header)?.digest ?? callback.digest) !== callback.digest) return false;
  writeSync(log, `\n${JSON.stringify(callback)}`); // a line that was cut ends before it
  fsyncSync(log);
  apply(callback);
  return true;
}

function apply({ at, header, digest, rows }) {
  for (const [known, { at: since }] of seen) {
    if (since > now() - 600) break;
    seen.delete(known); // too old to pass by now
  }
  seen.set(header, { at, digest });
  rows.forEach(keep);
}

/** Return the state of a message, or null. */
export const stateOf = (id) => messages.get(id) ?? null;
