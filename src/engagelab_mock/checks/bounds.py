"""How long things may take while a receiver is checked, in seconds."""

from __future__ import annotations

#: A whole run.
TOTAL = 120.0
#: One check.
EACH = 20.0
#: The work of an app that acknowledges first and works afterwards.
PATIENCE = 2.0
#: The silence of a receiver that did not answer, before the next check.
RECOVERY = 3.0
