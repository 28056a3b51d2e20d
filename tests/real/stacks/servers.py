"""The servers, each serving an app on a socket that listens already, as a separate process.

`python -m tests.real.stacks.servers DESCRIPTOR STACK RECORD` serves until its standard input ends, which it does when
the process that started it is gone, however that came to be.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref import simple_server

from tests.real.stacks.apps import django_app, flask_app, starlette_app
from tests.real.stacks.record import Record

#: How long a server that is told to stop waits for requests under way, in seconds.
_GRACE = 1

Serve = Callable[[Any, socket.socket], None]


class _WithPort(simple_server.WSGIRequestHandler):
    """Tell the app the client's port, as every other server does."""

    def get_environ(self) -> dict[str, Any]:
        return {**super().get_environ(), "REMOTE_PORT": str(self.client_address[1])}


def _adopt(server: simple_server.WSGIServer, listener: socket.socket, app: Any) -> simple_server.WSGIServer:
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = listener.getsockname()
    server.setup_environ()
    server.set_app(app)
    return server


def wsgiref(app: Any, listener: socket.socket) -> None:
    server = simple_server.WSGIServer(("127.0.0.1", 0), _WithPort, bind_and_activate=False)
    _adopt(server, listener, app).serve_forever()


def runserver(app: Any, listener: socket.socket) -> None:
    """Serve as `manage.py runserver` does."""
    from django.core.servers import basehttp

    class WithPort(_WithPort, basehttp.WSGIRequestHandler):
        pass

    server = basehttp.ThreadedWSGIServer(("127.0.0.1", 0), WithPort, bind_and_activate=False)
    _adopt(server, listener, app).serve_forever()


def werkzeug(app: Any, listener: socket.socket) -> None:
    """Serve as `flask run` does."""
    from werkzeug.serving import make_server

    make_server("127.0.0.1", listener.getsockname()[1], app, threaded=True, fd=listener.fileno()).serve_forever()


def gunicorn(**settings: Any) -> Serve:
    def serve(app: Any, listener: socket.socket) -> None:
        from gunicorn.app.base import BaseApplication

        class Application(BaseApplication):  # type: ignore[misc]  # it comes without types
            def load_config(self) -> None:
                # Nothing is under way when a test is over, and it would wait a second to see that.
                own = {"bind": f"fd://{listener.fileno()}", "graceful_timeout": 0, "control_socket_disable": True}
                for name, value in {**own, **settings}.items():
                    self.cfg.set(name, value)

            def load(self) -> Any:
                return app

        Application().run()

    return serve


def waitress(app: Any, listener: socket.socket) -> None:
    from waitress import serve

    serve(app, sockets=[listener])


def uvicorn(http: str) -> Serve:
    def serve(app: Any, listener: socket.socket) -> None:
        from uvicorn import Config, Server

        config = Config(app, http=http, log_level="warning", timeout_graceful_shutdown=_GRACE)
        Server(config).run(sockets=[listener])

    return serve


def hypercorn(app: Any, listener: socket.socket) -> None:
    import asyncio

    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.graceful_timeout = _GRACE
    asyncio.run(serve(app, config))


#: Every stack by name: its framework's app, and what serves it.
STACKS: dict[str, tuple[Callable[[Record], Any], Serve]] = {
    "Flask, werkzeug": (flask_app, werkzeug),
    "Flask, wsgiref": (flask_app, wsgiref),
    "Flask, gunicorn sync": (flask_app, gunicorn(worker_class="sync")),
    "Flask, gunicorn gthread": (flask_app, gunicorn(worker_class="gthread", threads=2)),
    "Flask, waitress": (flask_app, waitress),
    "Django, runserver": (django_app, runserver),
    "Django, wsgiref": (django_app, wsgiref),
    "Django, gunicorn sync": (django_app, gunicorn(worker_class="sync")),
    "Starlette, uvicorn h11": (starlette_app, uvicorn("h11")),
    "Starlette, uvicorn httptools": (starlette_app, uvicorn("httptools")),
    "Starlette, hypercorn": (starlette_app, hypercorn),
}


def _stop_with_parent(main_thread: int) -> None:
    sys.stdin.buffer.read()
    # To the main thread: this one would take the signal and leave that one asleep.
    signal.pthread_kill(main_thread, signal.SIGTERM)


def serve_with_parent(serve: Serve, app: Any, descriptor: str) -> None:
    """Serve an app until the process that started this one is gone."""
    threading.Thread(target=_stop_with_parent, args=[threading.get_ident()], daemon=True).start()
    serve(app, socket.socket(fileno=int(descriptor)))


def main(descriptor: str, stack: str, record: str) -> None:
    app, serve = STACKS[stack]
    serve_with_parent(serve, app(Record(Path(record))), descriptor)


if __name__ == "__main__":
    main(*sys.argv[1:])
