"""A failure, annotated: the README's test file with a view that forgets to answer."""

from __future__ import annotations

import re
from pathlib import Path

from recording import draw_terminal, find, run_test

ALT = (
    "The output of pytest for a callback that is not acknowledged, with notes: the line of the test that sent the "
    "callback; which callback it was, and why it does not count; a hint; the request; the answer; every "
    "delivery of the test; the seed that makes the same data again."
)

_README = Path(__file__).parent.parent.parent / "README.md"

#: The notes on the failure, each with the beginnings of the lines that it explains.
_NOTES = {
    "the line of your test that sent the callback": [">"],
    "which callback was not acknowledged, and why": ["E       engagelab_mock.errors.NotAcknowledged"],
    "the next thing to try": ["E         hint:"],
    "the request, with its headers and its body": ["E       request:", "E         Content-Type", "..."],
    "what your receiver answered": ["E       response:", "..."],
    "every delivery of this test": ["receiver:", "#  event", "1  plan"],
    "this makes the same ids and data again": ["seed:"],
}


def draw() -> str:
    [test] = re.findall(r"^```python\n(.*?)^```", _README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    broken = test.replace('return "", 200', "pass")
    printed = run_test(broken)
    lines = ["$ pytest test_shop.py"]
    for number, (note, starts) in enumerate(_NOTES.items()):
        lines += ["", f"{'①②③④⑤⑥⑦'[number]} {note}"]
        lines += ["E         …" if start == "..." else find(printed, start) for start in starts]
    return draw_terminal(lines, alt=ALT)
