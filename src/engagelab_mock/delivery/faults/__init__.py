"""Faults: what goes wrong on purpose."""

from __future__ import annotations
