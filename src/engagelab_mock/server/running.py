"""EngageLab's REST API on a free port of 127.0.0.1, with what an app has to be told to use it."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from engagelab_mock.clock import VirtualClock
from engagelab_mock.delivery.receiver import SANDBOX_SECRET, SANDBOX_USERNAME
from engagelab_mock.server.app import create_app
from engagelab_mock.server.loopback import LoopbackServer

if TYPE_CHECKING:
    from engagelab_mock.service.engagelab import EngageLab
    from engagelab_mock.service.postman import Postman

#: Credentials of the vendor's own sandbox [X], for a server that takes any.
DEV_KEY = "engagelab_sandbox_demo"
DEV_SECRET = "engagelab_sandbox_secret"


class ApiServer:
    """Serve one `EngageLab`'s REST API and control API, for as long as a `with` block lasts.

    >>> from engagelab_mock import EngageLab
    >>> from urllib.request import urlopen
    >>> with EngageLab() as engagelab, ApiServer(engagelab) as server:
    ...     urlopen(server.url + "/_mock/readyz").status
    200

    If a receiver is reached over HTTP, a `Postman` calls it; one in process is called when the test next asks for the
    inbox or the journal, on the test's own thread. With a clock that runs by itself a `Postman` calls all of them.
    """

    def __init__(self, engagelab: EngageLab, *, host: str = "127.0.0.1", port: int = 0, token: str = "") -> None:
        self.engagelab = engagelab
        self._app = create_app(engagelab, token=token)
        self._server = LoopbackServer(self._app, host, port)
        self._postman: Postman | None = None
        self._employing = threading.Lock()

    @property
    def url(self) -> str:
        """Return where the server is, without a trailing slash; the API is under `/v1`."""
        return self._server.url

    @property
    def base_url(self) -> str:
        """Return what clients call the base URL, the official SDK's `OTPClient.BASE_URL` for one."""
        return f"{self.url}/v1"

    @property
    def env(self) -> dict[str, str]:
        """Return environment variables for an app that is told by them, its own included for a subprocess to add.

        The credentials are those that the server wants, or the vendor's sandbox's if it takes any.
        """
        api = self.engagelab.intake.settings
        settings = self.engagelab.receivers[0].settings if self.engagelab.receivers else None
        return {
            "ENGAGELAB_BASE_URL": self.base_url,
            "ENGAGELAB_DEV_KEY": api.dev_key or DEV_KEY,
            "ENGAGELAB_DEV_SECRET": api.dev_secret or DEV_SECRET,
            "ENGAGELAB_WEBHOOK_USERNAME": settings.username if settings else SANDBOX_USERNAME,
            "ENGAGELAB_WEBHOOK_SECRET": settings.secret if settings else SANDBOX_SECRET,
            "ENGAGELAB_MOCK_SERVER": self.url,
        }

    @property
    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document, which is served at `/openapi.json`, too."""
        from engagelab_mock.server.openapi import openapi

        return openapi()

    def start(self) -> Self:
        """Answer requests from now on."""
        self.engagelab.on_release.append(self._employ)
        self._server.start()
        self._employ()
        return self

    def stop(self) -> None:
        """Stop answering and free the port."""
        if self._employ in self.engagelab.on_release:
            self.engagelab.on_release.remove(self._employ)
        self._app.close()
        self._server.stop()
        if self._postman is not None:
            self._postman.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<ApiServer {self.url}>"

    def _employ(self) -> None:
        """Have callbacks sent by threads of their own, once somebody is elsewhere to receive them, or time runs."""
        elsewhere = any(receiver.transport.name == "http" for receiver in self.engagelab.receivers)
        if isinstance(self.engagelab.clock, VirtualClock) and not elsewhere:
            return
        from engagelab_mock.service.postman import Postman  # most tests' receivers are in process

        with self._employing:
            if self._postman is None:
                self._postman = Postman(self.engagelab).start()
