"""The connections of a load: every answer means what it says, however it arrives and whatever came before it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from engagelab_mock import Receiver
from engagelab_mock.load.ledger import LedgerReader
from engagelab_mock.load.run import LoadRun

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
GOOD, FAILED, MALFORMED = ("acknowledged", 200), ("not_200", 500), ("malformed", 0)


def failed(body: bytes) -> list[bytes]:
    return [b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: %d\r\n\r\n" % len(body), body]


async def results(answers: Sequence[list[bytes]], directory: Path) -> list[tuple[str, int]]:
    """Send a callback for each answer, one after the other, to a server that gives these answers part by part."""
    given = iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # At its end, the client closes its connections.
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            parts: list[bytes] = []
            while parts != [CLOSE]:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
                parts = next(given)
                for part in parts:
                    writer.write(part)
                    # The loop gives each part to the client before the next is written.
                    for _ in range(10):
                        await asyncio.sleep(0)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        receiver = Receiver.http(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", limit=5)
        rate = len(answers) / 0.1
        run = LoadRun(receiver, {"rate": rate, "duration": 0.1, "connections": 1, "ledger": directory / "ledger"})
        await run.run()
    return [(entry.outcome, entry.answer) for entry in LedgerReader(directory / "ledger")]


#: The parts of each answer, and the outcome and the status that it means.
CASES: dict[str, list[tuple[list[bytes], tuple[str, int]]]] = {
    "the same answer": [([OK], GOOD)] * 4,
    "another answer": [([OK], GOOD), ([b"".join(failed(b"no"))], FAILED), ([OK], GOOD), ([OK], GOOD)],
    "an answer within another": [([OK], GOOD), (failed(OK), FAILED), ([OK], GOOD), ([OK], GOOD)],
    "an answer in parts": [([OK], GOOD), ([OK[:9], OK[9:40], OK[40:]], GOOD), ([OK], GOOD), ([OK], GOOD)],
    "an interim answer": [([OK], GOOD), ([HINTS, OK], GOOD), ([HINTS + OK], GOOD), ([HINTS + OK], GOOD)],
    "a rest after an answer": [([OK], GOOD), ([OK + b"HTTP"], GOOD), ([OK], MALFORMED), ([OK], GOOD)],
    "the same rest": [([OK + b"HTTP"], GOOD), ([OK], MALFORMED)] * 2,
    "a connection that is closed": [([CLOSE], GOOD)] * 4,
}


@pytest.mark.parametrize("name", CASES)
def test_an_answer_means_the_same_after_any_other(name: str, tmp_path: Path) -> None:
    answers, expected = zip(*CASES[name], strict=True)
    assert asyncio.run(results(answers, tmp_path)) == list(expected)
