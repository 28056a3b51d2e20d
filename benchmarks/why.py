"""Why a budget is missed, if it is: what profiles showed, without figures that another run would contradict."""

from __future__ import annotations

WHY = {
    "G1": (
        "pytest reads the RECORD of every distribution that has a plugin, line by line, and this package has many "
        "small files: with every module of it empty, that alone was over the budget. The rest is options, hooks and "
        "fixtures."
    ),
    "G2": (
        "the fixture rests on a second one, so that a project can override it, and the peer's does not. The rest "
        "builds receiver and engine for each test; the peer's server lives for the session."
    ),
    "G3": "a third of the imports in process is msgspec's; the rest is spread over some fifty modules.",
    "G4": (
        "the bare call does almost nothing. Half of the exchange is signing, calling and encoding; the other half "
        "makes the records that the journal keeps of request, answer and outcome. A send also makes the message, its "
        "events and timers, and settles: `python -m benchmarks.shape` counts the calls."
    ),
    "G5": (
        "what surrounds the call takes about twice as long around Flask as around a trivial app; cold caches are "
        "suspected, but not proven."
    ),
    "E1": (
        "signing, the records, a look at the state and the invariants cost little by themselves, as exploring a "
        "trivial app shows. Between two calls of a real one they take several times as long, and the app itself takes "
        "longer, too: measured alternately, each drives the other out of the processor's caches."
    ),
    "G6": (
        "each request has a new task, as behind a server. The turn of the event loop that this takes costs more "
        "than the rest of the driver. From synchronous code the loop's own run_until_complete costs as much again."
    ),
    "G7": (
        "a stretch goal. Almost half is the standard library's HMAC, and a faster one of our own is not worth its keep."
    ),
}
