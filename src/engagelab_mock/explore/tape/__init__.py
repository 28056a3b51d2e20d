"""Tapes: callbacks as a receiver got them, to keep and to send again, with nobody's data in them."""

from __future__ import annotations
