"""Faults: errors that are made on purpose."""

from __future__ import annotations
