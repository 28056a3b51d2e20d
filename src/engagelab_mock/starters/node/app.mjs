// --- Serve
import { createServer } from "node:http";
import { receive, stateOf } from "./engagelab.mjs";

const LIMIT = 2 ** 21; // bytes

const server = createServer(async (request, response) => {
  const answer = (status, content = "") => response.writeHead(status).end(content);
  const path = request.url.split("?")[0];
  if (process.env.SHOW_STATE && request.method === "GET" && path.startsWith("/messages/")) {
    return answer(200, JSON.stringify(stateOf(path.slice("/messages/".length)))); // for the checks, not for production
  }
  if (path !== "/engagelab") return answer(404);
  if (request.method !== "POST") return answer(405);
  try {
    const body = await bytesOf(request);
    if (body === null) return answer(413);
    answer(receive(request.headersDistinct["x-callback-id"] ?? [], body));
  } catch (error) {
    if (!request.complete) return; // the connection broke
    console.error(error);
    answer(500); // not stored, so EngageLab sends it again
  }
});

/** Return the raw bytes of the body, or null if they are too many. */
async function bytesOf(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > LIMIT) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const port = Number(process.env.PORT ?? 8080);
server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/engagelab`));
