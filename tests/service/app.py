"""A receiver in process whose handler can do anything, and a thread that must end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: The callbacks of a message that is accepted by the REST API.
SENT = ["plan", "sent", "delivered"]


class App:
    """A WSGI app that calls `handle` with each status, and notes the statuses, their messages and its threads."""

    def __init__(self, handle: Callable[[str], object] = str, status: str = "200 OK") -> None:
        self.handle = handle
        self.status = status
        self.statuses: list[str] = []
        #: The message's id and the status of each row.
        self.rows: list[tuple[str, str]] = []
        self.threads: list[threading.Thread] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        for row in body["rows"]:
            status = row["status"]["message_status"]
            self.statuses.append(status)
            self.rows.append((row["message_id"], status))
            self.threads.append(threading.current_thread())
            self.handle(status)
        start_response(self.status, [("Content-Length", "0")])
        return [b""]

    def of(self, message_id: str) -> list[str]:
        """Return the statuses of one message, in the order of their arrival."""
        return [status for of, status in self.rows if of == message_id]


def in_thread(work: Callable[[], object]) -> None:
    """Run something in a thread, and fail if it does not end."""
    in_threads(work)


def in_threads(*works: Callable[[], object]) -> None:
    """Run several things at once; raise the first error, and fail if one does not end."""
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "stuck"
