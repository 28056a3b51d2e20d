// A receiver on Node's own HTTP server. It prints its port.
//
//   node receiver.mjs correct | last | twice | racing | ignoring

import { createServer } from "node:http";
import { empty, enter, orders, receive } from "./shop.mjs";

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", async () => {
    const data = JSON.parse(Buffer.concat(parts).toString() || "{}");
    const [, what, id] = request.url.split("/");
    if (what === "engagelab") {
      await receive(data);
    } else if (what === "messages") {
      enter(data);
    } else if (what === "reset") {
      empty();
    } else if (what === "state") {
      response.setHeader("Content-Type", "application/json");
      response.write(JSON.stringify(orders.get(id) ?? null));
    } else {
      response.statusCode = 404;
    }
    response.end();
  });
});

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
