// --- Serve
import express from "express";
import { receive, stateOf } from "./engagelab.mjs";

const app = express();

// `express.raw`, for every content type: the signature and the big numbers need the bytes as they came. If your app has
// `app.use(express.json())`, put this route in front of it.
app.post("/engagelab", express.raw({ type: () => true, limit: "2mb" }), (request, response) => {
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0); // none at all: the address validation
  response.status(receive(request.headersDistinct["x-callback-id"] ?? [], body)).end();
});

if (process.env.SHOW_STATE) {
  // For the checks, not for production.
  app.get("/messages/:id", (request, response) => response.send(JSON.stringify(stateOf(request.params.id))));
}

app.use((error, request, response, next) => {
  // 500: not stored, so EngageLab sends it again. 413, 415: the body is too large, or cannot be decompressed.
  response.status(error.status ?? 500).end();
});

const port = Number(process.env.PORT ?? 8080);
app.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/engagelab`));
