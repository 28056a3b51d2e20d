"""The exceptions: each names the problem, its place, and the next step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engagelab_mock.checks.finding import Report
    from engagelab_mock.delivery.model import Delivery
    from engagelab_mock.explore.exploration import Exploration, Failure
    from engagelab_mock.explore.schedule import Schedule
    from engagelab_mock.explore.tape import Tape


def portable(value: Any) -> Any:
    """Return the value if it can be pickled, else its text; an exception becomes a `RuntimeError` with that text.

    Apps raise and return values of all kinds. One that cannot be unpickled would break the pool of processes.

    >>> portable([1, 2]), portable({"lock": print}.items())
    ([1, 2], "dict_items([('lock', <built-in function print>)])")
    """
    import pickle  # only copies need it

    if value is None:
        return None
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:
        if isinstance(value, BaseException):
            return RuntimeError(f"{type(value).__name__}: {_text(value, str)}")
        return _text(value, repr)
    return value


def _text(value: object, written: Callable[[object], str]) -> str:
    try:
        return written(value)
    except Exception:
        return object.__repr__(value)


def reduce_error(error: BaseException) -> tuple[Any, ...]:
    """Pickle or copy an exception without calling its constructor; this is the `__reduce__` of every error.

    Attributes that cannot be pickled are replaced by their text.
    """
    state = {name: portable(value) for name, value in error.__dict__.items()}
    if error.__cause__ is not None:
        state["__cause__"] = portable(error.__cause__)
    return _new_error, (type(error), error.args), state


def _new_error(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    return kind.__new__(kind, *args)


def reduce_struct(struct: Any, *foreign: str, without: Sequence[str] = (), late: Sequence[str] = ()) -> tuple[Any, ...]:
    """Pickle or copy a record of which some fields are the user's, and may hold values that cannot be pickled.

    The fields in `without` keep their defaults: they belong to this process. Those in `late` are set when the record
    exists: they may lead back to it.
    """
    values = {name: getattr(struct, name) for name in type(struct).__struct_fields__ if name not in without}
    # Fields with the same value keep it in common: a state that did not change is the same object.
    texts = {id(values[name]): portable(values[name]) for name in foreign}
    values.update({name: texts[id(values[name])] for name in foreign})
    after = {name: values.pop(name) for name in late}
    return _new_struct, (type(struct), values), (None, after) if late else None


def _new_struct(kind: type[Any], values: dict[str, Any]) -> Any:
    return kind(**values)


class EngageLabMockError(Exception):
    """Report a problem, its place, and the next step; the base class of all errors of this package.

    If checks ran before the error, `report` holds their findings, else None.

    >>> print(EngageLabMockError("no receiver", where="EngageLab()", hint="pass one"))
    EngageLab(): no receiver
      hint: pass one
    """

    report: Report | None = None

    def __init__(self, what: str, *, where: str = "", hint: str = "", detail: str = "") -> None:
        self.what = what
        self.where = where
        self.hint = hint
        text = self.problem
        if hint:
            text += f"\n  hint: {hint}"
        super().__init__(f"{text}\n\n{detail}" if detail else text)

    @property
    def problem(self) -> str:
        """Return the place and the problem, without the hint."""
        return f"{self.where}: {self.what}" if self.where else self.what

    def add(self, more: str) -> None:
        """Add to the problem, such as when it happened.

        >>> error = EngageLabMockError("answered 503", where="--observe", hint="is it up?")
        >>> error.add(", in A01")
        >>> print(error)
        --observe: answered 503, in A01
          hint: is it up?
        """
        text, before = str(self), self.problem
        self.what += more
        self.args = (self.problem + text.removeprefix(before),)

    __reduce__ = reduce_error


class UsageError(EngageLabMockError, ValueError):
    """Report an argument that cannot be used; the command line exits 2 on it.

    >>> issubclass(UsageError, ValueError)
    True
    """


class InvalidRecipient(UsageError):
    """Report a recipient that is neither an E.164 phone number nor an e-mail address.

    >>> issubclass(InvalidRecipient, UsageError)
    True
    """


class InvalidSettings(UsageError):
    """Report callback settings that EngageLab's console would not accept, or a header that cannot be sent.

    >>> issubclass(InvalidSettings, UsageError)
    True
    """


class InvalidDelay(UsageError):
    """Report a delay that is negative, not finite, or not a number of seconds.

    >>> issubclass(InvalidDelay, UsageError)
    True
    """


class IllegalTransition(UsageError):
    """Report a status that cannot follow the ones before it in the transition graph; `allowed` names those that can.

    >>> issubclass(IllegalTransition, UsageError)
    True
    """

    def __init__(self, what: str, *, where: str, hint: str, allowed: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.allowed = allowed


class UnknownName(UsageError):
    """Report a misspelt name and suggest the nearest one.

    >>> print(UnknownName("scenario", "verfied", ["verified", "delivered"]))
    unknown scenario 'verfied'
      hint: did you mean 'verified'? Known: delivered, verified
    """

    def __init__(self, noun: str, name: object, known: Iterable[str], *, where: str = "", hint: str = "") -> None:
        self.noun = noun
        self.name = name
        options = sorted(str(option) for option in known)
        suggestion = did_you_mean(str(name), options)
        hints = [suggestion, f"Known: {', '.join(options)}", hint]
        super().__init__(f"unknown {noun} {name!r}", where=where, hint=" ".join(part for part in hints if part))


class ProbeFailed(UsageError):
    """End a run: `observe` or another function of the probe failed, or returned an unusable value.

    >>> issubclass(ProbeFailed, UsageError)
    True
    """


class StateNotSettled(UsageError):
    """End a run: the app's state changed without a callback in between, because the app works after its answer.

    >>> issubclass(StateNotSettled, UsageError)
    True
    """


class NothingObserved(UsageError):
    """End a run that could judge nothing: the receiver showed no effect of any callback, or no check could be judged.

    >>> issubclass(NothingObserved, UsageError)
    True
    """


class HiddenState(UsageError):
    """End a run that merges equal states: after equal states, the same callback led to different ones.

    Something decides that `observe` does not show. `schedule` ended in the state `found`, and its steps before had left
    the same as those of another schedule, which ended in the state `expected`.

    >>> issubclass(HiddenState, UsageError)
    True
    """

    def __init__(self, what: str, *, schedule: Schedule, expected: Any, found: Any, where: str, hint: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.schedule = schedule
        self.expected = expected
        self.found = found


class InvalidBody(EngageLabMockError, ValueError):
    """Report a body that is not a callback envelope: the error, and its place in the body.

    >>> issubclass(InvalidBody, ValueError)
    True
    """


class InvalidTape(UsageError):
    """Report a tape that is cut off, or a file that is not a tape: the line, and its error.

    The `tape` attribute holds its usable lines.

    >>> issubclass(InvalidTape, UsageError)
    True
    """

    def __init__(self, what: str, *, tape: Tape, where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.tape = tape


class NotAcknowledged(EngageLabMockError, AssertionError):
    """Fail the test at the calling line: a delivery was not answered with HTTP 200 in time.

    The `delivery` attribute holds the request, the response and the typed outcome.

    >>> issubclass(NotAcknowledged, AssertionError)
    True
    """

    def __init__(self, what: str, *, delivery: Delivery, hint: str = "", detail: str = "") -> None:
        super().__init__(what, hint=hint, detail=detail)
        self.delivery = delivery


class NothingReceived(EngageLabMockError, AssertionError):
    """Fail the test at the line that looked for a message or a code in an inbox and found none.

    >>> issubclass(NothingReceived, AssertionError)
    True
    """


class ScheduleFailed(EngageLabMockError, AssertionError):
    """Fail the test at the calling line: an invariant does not hold in this schedule.

    The `failure` attribute holds the schedule, the smallest schedule that also fails, and the deliveries of both. If an
    exploration found it, `exploration` is that exploration.

    >>> issubclass(ScheduleFailed, AssertionError)
    True
    """

    def __init__(self, what: str, *, failure: Failure, hint: str = "", detail: str = "") -> None:
        super().__init__(what, hint=hint, detail=detail)
        self.failure = failure
        self.exploration: Exploration | None = None


class ReceiverFellShort(EngageLabMockError, AssertionError):
    """Fail the test at the calling line: the receiver fails checks.

    >>> issubclass(ReceiverFellShort, AssertionError)
    True
    """

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(what, detail=detail)


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Suggest the known name nearest to a misspelt one, or nothing; `cutoff` is the least similarity, from 0 to 1.

    >>> did_you_mean("delivred", ["sent", "delivered"])
    "did you mean 'delivered'?"
    """
    import difflib  # needed only for an error

    options = {option.lower(): option for option in known}
    nearest = difflib.get_close_matches(name.lower(), options, n=1, cutoff=cutoff)
    return f"did you mean '{options[nearest[0]]}'?" if nearest else ""
