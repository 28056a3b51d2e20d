"""Clocks, which get the time from the system or from the test, and run actions when they are due."""

from __future__ import annotations

from engagelab_mock.clock.base import Clock, Entry, Timer, check_delay
from engagelab_mock.clock.real import SystemClock
from engagelab_mock.clock.virtual import VirtualClock

__all__ = ["Clock", "Entry", "SystemClock", "Timer", "VirtualClock", "check_delay"]
