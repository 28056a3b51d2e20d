"""The packages and programs with which ours is compared: a run goes on without those that are not installed."""

from __future__ import annotations

from importlib import import_module


def why_missing(*modules: str) -> str:
    """Say why one of a peer's modules cannot be imported; nothing if they all can be.

    >>> why_missing("json"), why_missing("json", "no_such_module")
    ('', "no_such_module cannot be imported: No module named 'no_such_module'")
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            return f"{module} cannot be imported: {error}"
    return ""
