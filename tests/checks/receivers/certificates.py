"""Receivers under TLS, with certificates of a test authority."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import trustme

from tests.checks.receivers.correct import CorrectReceiver
from tests.checks.receivers.servers import Handler, handling


class Authority:
    """Issue certificates."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    def write_bundle(self, path: Path) -> Path:
        self._authority.cert_pem.write_to_path(str(path))
        return path

    @contextmanager
    def serving(self, receiver: CorrectReceiver, name: str, *, until: datetime | None = None) -> Iterator[str]:
        """Serve with a certificate for this name, valid until the given time."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(name, not_after=until).configure_cert(context)
        with handling(receiver, Handler) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            yield f"https://127.0.0.1:{server.server_port}"
