"""How a message lives: its scenario, templates, and events about the account."""

from __future__ import annotations
