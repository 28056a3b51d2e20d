"""The status graph: which status may follow which, from the graph that scenarios are checked against."""

from __future__ import annotations

from itertools import pairwise

from svg import Picture

from engagelab_mock import CATALOGUE, INFERRED, START, Status

ALT = (
    "The statuses in groups, from plan down to the three verdicts on the code, with an arrow from each status "
    "to the groups that may follow. The usual way is plan, sent, delivered, verified. After sent_failed and "
    "delivered_failed another channel is tried, and after verified_failed the user can enter a code again."
)

#: Statuses that may follow the same ones stand together: an arrow to a group is an arrow to each status in it.
GROUPS = [
    ["plan"],
    ["target_valid", "target_invalid"],
    ["sent", "sent_failed"],
    ["delivered", "delivered_failed"],
    ["read"],
    ["verified", "verified_failed", "verified_timeout"],
]

_BOX, _HEIGHT, _GAP = 142, 34, 40
_LEFT, _TOP, _PAD = 70, 20, 9
_WIDTH = 3 * _BOX + 4 * _PAD


def arrows() -> list[tuple[str, int]]:
    """Return an arrow from each status to each group that may follow it; raise if the groups do not fit the graph."""
    found = []
    for status in Status:
        allowed = INFERRED.next_after(status)
        groups = [number for number, group in enumerate(GROUPS) if set(group) & set(allowed)]
        if sorted(allowed) != sorted(member for number in groups for member in GROUPS[number]):
            raise ValueError(f"{status} may be followed by a part of a group: {allowed}; change GROUPS")
        found += [(str(status), number) for number in groups]
    if INFERRED.next_after(START) != GROUPS[0]:
        raise ValueError("a message does not begin with the statuses of the first group; change GROUPS")
    return found


def draw() -> str:
    bottom = _top(len(GROUPS)) - _GAP
    picture = Picture(_LEFT + _WIDTH + 70, bottom + 96, ALT)
    usual = CATALOGUE["verified"].statuses
    for row, group in enumerate(GROUPS):
        width = len(group) * (_BOX + _PAD) + _PAD
        picture.box(_LEFT, _top(row), width, _HEIGHT + 2 * _PAD, "dashed", radius=8)
        for column, status in enumerate(group):
            x, y = _LEFT + _PAD + column * (_BOX + _PAD), _top(row) + _PAD
            picture.box(x, y, _BOX, _HEIGHT, "box line-good" if status in usual else "box line-soft")
            style = "bad" if Status(status).failure else "bold" if status in usual else ""
            picture.text(x + _BOX / 2, y + 22, status, style, size=13.5, anchor="middle")
    ways = {(before, _row(after)) for before, after in pairwise(usual)}
    for arrow in arrows():
        style = "line-good" if arrow in ways else "line-amber" if _row(arrow[0]) >= arrow[1] else "line-soft"
        _arrow(picture, *arrow, style)
    legend = {"line-good": "the usual way", "line-soft": "possible, too", "line-amber": "another channel or attempt"}
    for x, (style, words) in zip((28, 184, 336), legend.items(), strict=True):
        picture.path(f"M{x} {bottom + 68} h24", style)
        picture.text(x + 32, bottom + 73, words, size=12.5)
    return picture.render()


def _top(row: int) -> float:
    return _TOP + row * (_HEIGHT + 2 * _PAD + _GAP)


def _row(status: str) -> int:
    return next(row for row, group in enumerate(GROUPS) if status in group)


def _arrow(picture: Picture, status: str, group: int, style: str) -> None:
    """Draw an arrow down to the next group, at the left past others, at the right back up, or back from below."""
    row, column = _row(status), GROUPS[_row(status)].index(status)
    x, y = _LEFT + _PAD + column * (_BOX + _PAD), _top(row) + _PAD
    right = _LEFT + len(GROUPS[group]) * (_BOX + _PAD) + _PAD
    aim = _top(group) + _PAD
    if group == row + 1:
        course = f"M{x + _BOX / 2} {y + _HEIGHT} V{_top(group)} m-4 -7 l4 7 l4 -7"
    elif group > row:
        passed = group - row - 1
        course = f"M{x} {y + 25} H{_LEFT - 12 - 16 * passed} V{aim - 8 + 9 * passed} H{_LEFT} m-7 -4 l7 4 l-7 4"
    elif len(GROUPS[group]) == 3:
        low = _top(row) + _HEIGHT + 2 * _PAD
        course = f"M{x + 50} {y + _HEIGHT} V{low + 20} H{x + _BOX - 50} V{low} m-4 7 l4 -7 l4 7"
    else:
        side = right + 22 + 22 * (row - group)
        course = f"M{x + _BOX} {y + 22} H{side} V{aim + 2} H{right} m7 -4 l-7 4 l7 4"
    picture.path(course, style)
