"""How long the tests wait for what must happen."""

from __future__ import annotations

#: How long anything may take before a test is called stuck, in seconds: much longer than it takes on any machine.
PATIENCE = 10.0
