"""EngageLab's REST API on real sockets: the only part that knows Werkzeug."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engagelab_mock.server.app import create_app
    from engagelab_mock.server.running import ApiServer

__all__ = ["ApiServer", "create_app"]

_HOMES = {"ApiServer": "running", "create_app": "app"}


def __getattr__(name: str) -> object:
    # Imported at the first use: the bundled receiver is served without these modules.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
