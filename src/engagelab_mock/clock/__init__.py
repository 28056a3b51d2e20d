"""Where time comes from: the machine or the test, and what is due when."""

from __future__ import annotations

from engagelab_mock.clock.base import Clock, Timer, check_delay, stopwatch
from engagelab_mock.clock.real import SystemClock
from engagelab_mock.clock.virtual import VirtualClock

__all__ = ["Clock", "SystemClock", "Timer", "VirtualClock", "check_delay", "stopwatch"]
