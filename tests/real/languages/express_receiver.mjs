// A receiver on Express, which is installed next to this file. It prints its port.
//
//   node express_receiver.mjs correct | last | twice | racing | ignoring

import express from "express";
import { empty, enter, orders, receive } from "./shop.mjs";

const app = express();
app.use(express.json({ type: () => true }));

app.post("/engagelab", async (request, response) => {
  await receive(request.body ?? {});
  response.sendStatus(200);
});
app.post("/messages", (request, response) => {
  enter(request.body);
  response.sendStatus(200);
});
app.post("/reset", (request, response) => {
  empty();
  response.sendStatus(200);
});
app.get("/state/:id", (request, response) => {
  response.json(orders.get(request.params.id) ?? null);
});

const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
