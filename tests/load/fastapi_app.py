"""A receiver for loads: FastAPI in front, SQLite behind, as uvicorn serves it."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response

from engagelab_mock import StatusEvent, decode, verify
from tests.load.flask_app import apply, connect

app = FastAPI()


@app.post("/engagelab")
async def callback(request: Request) -> Response:
    if not verify(request.headers.get("X-CALLBACK-ID"), username="acme", secret="s3cret", now=time.time()):
        raise HTTPException(401)
    body = await request.body()
    with closing(connect()) as db:
        for event in decode(body).rows:
            if isinstance(event, StatusEvent):
                db.execute("BEGIN IMMEDIATE")
                apply(db, event)
                db.execute("COMMIT")
    return Response()


@app.get("/state/{message_id}")
def state(message_id: str) -> dict[str, Any]:
    with closing(connect()) as db:
        found = db.execute("SELECT status, credits FROM messages WHERE message_id = ?", [message_id]).fetchone()
    if found is None:
        raise HTTPException(404)
    return {"status": found[0], "credits": found[1]}
