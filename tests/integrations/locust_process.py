"""What real Locust needs in a test: a free port for its master, so that tests at the same time do not share workers."""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec

import pytest

#: Locust is not imported to find out: that would change the sockets of this process.
needs_locust = pytest.mark.skipif(
    find_spec("locust") is None, reason="Locust is not here: python -m pip install '.[load]'"
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment() -> dict[str, str]:
    port = str(free_port())
    return {**os.environ, "LOCUST_MASTER_BIND_PORT": port, "LOCUST_MASTER_NODE_PORT": port}
