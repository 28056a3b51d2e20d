// A receiver for loads, on Node's own http server: it prints its port, and keeps the states in memory.
const crypto = require("node:crypto");
const http = require("node:http");

const states = new Map();

function genuine(header) {
  const parts = Object.fromEntries((header || "").split(";").map((part) => part.split("=")));
  const text = `${parts.timestamp}${parts.nonce}${parts.username}`;
  const digest = crypto.createHmac("sha256", "s3cret").update(text).digest("hex");
  return parts.username === "acme" && digest === parts.signature;
}

function keep(row) {
  const status = row.status.message_status;
  const state = states.get(row.message_id) || { status: "", credits: 0, itime: 0, seen: new Set() };
  states.set(row.message_id, state);
  const key = `${status} ${row.itime}`;
  if (state.seen.has(key)) return;
  state.seen.add(key);
  if (status === "verified") state.credits += 1;
  if (row.itime >= state.itime) Object.assign(state, { status, itime: row.itime });
}

const server = http.createServer((request, response) => {
  if (request.method === "GET") {
    const state = states.get(request.url.split("/").pop());
    response.writeHead(state ? 200 : 404, { "Content-Type": "application/json" });
    response.end(JSON.stringify(state ? { status: state.status, credits: state.credits } : null));
    return;
  }
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    if (!genuine(request.headers["x-callback-id"])) {
      response.writeHead(401).end();
      return;
    }
    JSON.parse(Buffer.concat(parts)).rows.forEach(keep);
    response.end();
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
