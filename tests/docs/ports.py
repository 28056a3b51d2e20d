"""Free ports, instead of those that a page names."""

from __future__ import annotations

import itertools
import os
import re
import socket

from tests.docs.pages import PAGES

#: The port of `serve`, which the pages do not name in the command.
DEFAULT_PORT = "8420"


def free_ports(page: str) -> dict[str, str]:
    """Return a free port for each that the page names: others may be in use.

    They are below those that systems give to outgoing connections, so that they stay free.
    """
    named = {
        DEFAULT_PORT,
        *re.findall(r"(?:127\.0\.0\.1:|--port |receiver\.py |PORT=|shop\.mjs )(\d{4,5})\b", PAGES[page]),
    }
    candidates = itertools.count(20_000 + os.getpid() % 10_000)
    return {port: str(next(filter(is_free, candidates))) for port in sorted(named)}


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return bool(probe.connect_ex(("127.0.0.1", port)))
