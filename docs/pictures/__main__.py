"""Draw every picture of the documentation: `python docs/pictures`. A test says when that was forgotten."""

from __future__ import annotations

from pathlib import Path

import architecture
import failing
import failure
import knee
import login
import orders
import race
import statuses

HERE = Path(__file__).parent
#: Each has `draw()`, and `ALT`, which is the picture in words.
PICTURES = {module.__name__: module for module in (architecture, failing, failure, knee, login, orders, race, statuses)}

if __name__ == "__main__":
    for name, module in PICTURES.items():
        (HERE / f"{name}.svg").write_text(module.draw(), encoding="utf-8")
