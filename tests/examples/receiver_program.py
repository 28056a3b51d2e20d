"""A receiver that is a program of its own: it stands in for yours, in any language, and passes the checks."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

# A status only replaces one of lower rank: neither the order of arrival nor a second delivery matters.
RANK = {"plan": 0, "target_valid": 1, "target_invalid": 2, "sent_failed": 3, "sent": 4, "delivered_failed": 5}
RANK |= {"delivered": 6, "verified_timeout": 7, "verified_failed": 8, "verified": 9}

# In your app: two tables, and a transaction instead of the lock.
messages: dict[str, str] = {}
signatures: dict[str, bytes] = {}
lock = Lock()


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # callbacks come many at a time


class Handler(BaseHTTPRequestHandler):
    timeout = 10  # for a client that sends less than it promised

    def do_POST(self) -> None:
        headers = self.headers.get_all("X-CALLBACK-ID") or [""]
        length = self.headers["Content-Length"] or ""
        if not length.isdecimal():
            self.answer(411)
            return
        body = self.rfile.read(int(length))
        if len(body) == int(length):  # else the connection broke
            self.answer(receive(headers, body))

    def do_GET(self) -> None:
        """Show the status of a message to the checks. Do not do this in production."""
        with lock:
            self.answer(200, json.dumps(messages.get(self.path.rpartition("/")[2])))

    def answer(self, status: int, content: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def receive(headers: list[str], body: bytes) -> int:
    """Return the status to answer a callback with."""
    if body in {b"", b"{}"}:
        return 200  # the address validation, unsigned in EngageLab's document
    if len(headers) != 1 or not is_genuine(headers[0]):
        return 401
    try:
        rows = list(json.loads(body)["rows"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return 400
    with lock:  # all of a callback, or nothing
        if signatures.setdefault(headers[0], body) != body:
            return 401  # a genuine signature under another body: EngageLab does not sign the body
        for row in rows:
            keep(row)
    return 200


def is_genuine(header: str) -> bool:
    parts = dict(part.strip().split("=", 1) for part in header.split(";") if "=" in part)
    timestamp = parts.get("timestamp", "")
    if not timestamp.isascii() or not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > 300:
        return False
    signed = f"{timestamp}{parts.get('nonce', '')}acme".encode()
    expected = hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
    given = parts.get("signature", "").encode(errors="replace")
    return parts.get("username") == "acme" and hmac.compare_digest(expected.encode(), given)


def keep(row: object) -> None:
    """Keep the status of a row. Ignore a row of another kind, or with a status that is not known."""
    match row:
        case {"message_id": str() | int() as message_id, "status": {"message_status": str() as status}}:
            status = "sent_failed" if status == "sent_fail" else status  # how newer documents spell it
            if status in RANK and RANK[status] > RANK.get(messages.get(str(message_id), ""), -1):
                messages[str(message_id)] = status
                print(status, flush=True)


if __name__ == "__main__":
    server = Server(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
