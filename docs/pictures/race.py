"""The states that the failing exploration of "Find the race" saw, as its report draws them."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from engagelab_mock import ScheduleFailed
from engagelab_mock.explore.picture import picture

ALT = (
    "The states of the receiver, from left to right. The credits are 0 after plan, sent and delivered. Two handlers of "
    "verified, one after the other, give 1 credit. In the order a2b they give 2: this end is red, and the path to it "
    "is bold."
)

_PAGE = Path(__file__).parent.parent / "howto" / "races.md"


def draw() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", _PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    page: dict[str, Any] = {}
    exec("\n".join(blocks[:2]), page)
    with TemporaryDirectory() as directory:
        shop = page["Shop"](Path(directory) / "shop.sqlite")
        with pytest.raises(ScheduleFailed) as caught:
            shop.engagelab(page["look_then_insert"]).explore("verified", concurrent=2)
    found = caught.value.exploration
    assert found is not None
    found.graph()  # marks the failure
    return picture(found.seen, ALT)
