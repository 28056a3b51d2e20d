"""EngageLab's REST API on a free port of 127.0.0.1, and the settings that an app needs to use it."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from engagelab_mock.clock import VirtualClock
from engagelab_mock.delivery.receiver import SANDBOX_SECRET, SANDBOX_USERNAME
from engagelab_mock.server.app import create_app
from engagelab_mock.server.loopback import LoopbackServer

if TYPE_CHECKING:
    from engagelab_mock.engagelab import EngageLab
    from engagelab_mock.service.worker import DeliveryWorker

#: Credentials of the vendor's own sandbox [X], for a server that accepts any.
DEV_KEY = "engagelab_sandbox_demo"
DEV_SECRET = "engagelab_sandbox_secret"


class ApiServer:
    """Serve one `EngageLab`'s REST API and control API while a `with` block runs.

    >>> from engagelab_mock import EngageLab
    >>> from urllib.request import urlopen
    >>> with EngageLab() as engagelab, ApiServer(engagelab) as server:
    ...     urlopen(server.url + "/_mock/readyz").status
    200

    A `DeliveryWorker` calls receivers that are reached over HTTP. A receiver in process is called on the test's own
    thread, when the test next reads the inbox or the journal. On a clock that runs by itself a worker calls all of
    them.
    """

    def __init__(self, engagelab: EngageLab, *, host: str = "127.0.0.1", port: int = 0, token: str = "") -> None:
        self.engagelab = engagelab
        self._app = create_app(engagelab, token=token)
        self._server = LoopbackServer(self._app, host, port)
        self._worker: DeliveryWorker | None = None
        self._stopped = False
        #: Held while the worker is started or stopped: a request may start it while the server is being stopped.
        self._starting = threading.Lock()

    @property
    def url(self) -> str:
        """Return the server's address, without a trailing slash; the API is under `/v1`."""
        return self._server.url

    @property
    def base_url(self) -> str:
        """Return the base URL for clients, such as the official SDK's `OTPClient.BASE_URL`."""
        return f"{self.url}/v1"

    @property
    def env(self) -> dict[str, str]:
        """Return environment variables that configure an app in another process.

        The credentials are the pair that the server requires, or the vendor's sandbox's if it accepts any. NO_PROXY
        has this process's value and the server's host, so that an app does not send its requests to HTTP_PROXY.
        """
        api = self.engagelab._engine.api_settings
        settings = self.engagelab.receivers[0].settings if self.engagelab.receivers else None
        return {
            "ENGAGELAB_BASE_URL": self.base_url,
            "ENGAGELAB_DEV_KEY": api.dev_key or DEV_KEY,
            "ENGAGELAB_DEV_SECRET": api.dev_secret or DEV_SECRET,
            "ENGAGELAB_WEBHOOK_USERNAME": settings.username if settings else SANDBOX_USERNAME,
            "ENGAGELAB_WEBHOOK_SECRET": settings.secret if settings else SANDBOX_SECRET,
            "ENGAGELAB_MOCK_SERVER": self.url,
            # Some programs read only the one, others only the other.
            **dict.fromkeys(("NO_PROXY", "no_proxy"), _without_proxy(str(urlsplit(self.url).hostname))),
        }

    @property
    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document, which `/openapi.json` serves as well."""
        from engagelab_mock.server.openapi import openapi

        return openapi()

    def start(self) -> Self:
        """Answer requests from now on."""
        self._stopped = False
        self.engagelab._engine.outbox.on_release.append(self._start_worker)
        self._server.start()
        self._start_worker()
        return self

    def stop(self) -> None:
        """Stop answering and free the port."""
        if self._start_worker in self.engagelab._engine.outbox.on_release:
            self.engagelab._engine.outbox.on_release.remove(self._start_worker)
        self._app.close()
        self._server.stop()
        with self._starting:
            self._stopped = True
            worker = self._worker
        if worker is not None:
            worker.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<ApiServer {self.url}>"

    def _start_worker(self) -> None:
        """Start a worker if a receiver is reached over HTTP, or time runs by itself."""
        elsewhere = any(receiver.transport.name == "http" for receiver in self.engagelab.receivers)
        if isinstance(self.engagelab.clock, VirtualClock) and not elsewhere:
            return
        from engagelab_mock.service.worker import DeliveryWorker  # most tests' receivers are in process

        with self._starting:
            if self._worker is None and not self._stopped:
                self._worker = DeliveryWorker(self.engagelab).start()


def _without_proxy(host: str) -> str:
    """Return the hosts that need no proxy: those of this process's environment, and this machine."""
    given = f"{os.environ.get('NO_PROXY', '')},{os.environ.get('no_proxy', '')}"
    hosts = dict.fromkeys([*filter(None, map(str.strip, given.split(","))), host, "localhost"])
    return "*" if "*" in hosts else ",".join(hosts)
