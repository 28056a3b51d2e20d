"""Why a budget is missed, where it is: what profiles of the misses showed."""

from __future__ import annotations

WHY = {
    "G1": (
        "pytest reads the RECORD of every distribution that has a plugin, about 0.015 points a file, and this package "
        "has many small files: with every module of it empty it was 1.1 %. The rest is options, hooks and fixtures."
    ),
    "G2": (
        "the fixture rests on a second one, so that a project can override it: that is two trivial ones. The rest, "
        "about 100 µs with cold caches, builds receiver and engine anew for each test."
    ),
    "G3": "a third of the imports in process is msgspec's; the rest is spread over some fifty modules.",
    "G4": (
        "the bare call takes a fifth of a microsecond. Signing takes 4, the call 3, encoding 1; the rest makes the "
        "records that the journal keeps of request, answer and outcome."
    ),
    "G5": (
        "what surrounds the call takes 16 µs with a trivial app, and twice that around Flask; cold caches are "
        "suspected, and not proven."
    ),
    "G6": (
        "from synchronous code the event loop's own run_until_complete takes 12 µs. In the loop, scope, answer and "
        "the limit of 3 s take 5 µs, and the bare app two thirds of one."
    ),
    "G7": (
        "a stretch goal. The standard library's HMAC takes 2 of 5 µs, and a faster one of our own is not worth "
        "its keep."
    ),
}
