"""Where time comes from: the machine or the test, and what is due when."""

from engagelab_mock.clock.base import Clock
from engagelab_mock.clock.delay import check_delay
from engagelab_mock.clock.real import stopwatch
from engagelab_mock.clock.system import SystemClock
from engagelab_mock.clock.timer import Timer
from engagelab_mock.clock.virtual import VirtualClock

__all__ = ["Clock", "SystemClock", "Timer", "VirtualClock", "check_delay", "stopwatch"]
