// The orders of a shop, and what a callback does to them: right, or with one of the usual mistakes.

const RANK = ["plan", "target_valid", "target_invalid", "sent_failed", "sent", "delivered_failed", "delivered",
  "verified_timeout", "verified_failed", "verified"];

export const mode = process.argv[2] ?? "correct";
export const orders = new Map();
const seen = new Set();
const known = new Set();

// As a query of a database: other requests run meanwhile.
const query = () => new Promise((resolve) => setTimeout(resolve, 1));

async function apply(id, status) {
  if (mode === "ignoring" && !known.has(id)) return;
  const key = `${id} ${status}`;
  let isNew = !seen.has(key);
  if (mode === "racing") {
    await query();
  } else {
    isNew = mode === "twice" || isNew;
  }
  const order = orders.get(id) ?? { status: null, credits: 0 };
  if (mode === "last" || RANK.indexOf(status) > RANK.indexOf(order.status)) order.status = status;
  if (status === "verified" && isNew) order.credits += 1;
  seen.add(key);
  orders.set(id, order);
  await query();
}

export async function receive(envelope) {
  for (const row of envelope.rows ?? []) {
    if (row.status) await apply(String(row.message_id), row.status.message_status);
  }
}

export function enter(message) {
  known.add(message.message_id);
}

export function empty() {
  [orders, seen, known].forEach((each) => each.clear());
}
