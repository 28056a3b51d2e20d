"""The life of a message: its scenario, templates, and events about the account."""

from __future__ import annotations
