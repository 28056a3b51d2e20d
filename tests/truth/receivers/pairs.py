"""Pairs of a right receiver and its mutant, with the checks that must find the mutant's bug."""

from __future__ import annotations

from tests.truth.receivers import accounts, in_memory, states, times, work
from tests.truth.receivers.in_memory import InMemory


class Pair:
    """Hold a right app, a wrong one that is built the same way, and the checks that must find its bug."""

    def __init__(self, right: type[InMemory], wrong: type[InMemory], *fails: str) -> None:
        self.right = right
        self.wrong = wrong
        self.fails = fails


PAIRS = {
    "an append-only log": Pair(in_memory.AppendOnlyLog, in_memory.AppendsTwice, "C01"),
    "numbers for statuses": Pair(states.Numbers, states.NumbersLastWins, "C06"),
    "a row that is removed when the message is done": Pair(states.RemovedWhenDone, states.RemovedAndForgotten, "C06"),
    "totals over all messages": Pair(states.TotalsOnly, states.TotalsTwice, "C01"),
    "a status next to a total": Pair(states.StatusAndTotals, states.StatusAndTotalsLastWins, "C06"),
    "one text of all events": Pair(states.OneText, states.OneTextOverwritten, "C06"),
    "one text with slashes": Pair(states.OnePath, states.OnePathTwice, "C01"),
    "a set of statuses": Pair(states.SetOfStatuses, states.SetReplaced, "C06"),
    "a row that every callback touches": Pair(times.Touched, times.TouchedTwice, "B16", "C01"),
    "failures only": Pair(states.OnlyFailures, states.OnlyFailuresTwice, "B16", "C01", "C02"),
    "one text, the status": Pair(in_memory.PlainStatus, in_memory.PlainStatusLastWins, "C06"),
    "rows with numbers, times and versions": Pair(states.Rows, states.RowsLastWins, "C06"),
    "JSON in a text column": Pair(states.JsonColumn, states.JsonColumnLastWins, "C06"),
    "a state folded from events": Pair(states.Folded, states.FoldedByArrival, "C06"),
    "a unique index": Pair(states.UniqueConstraint, states.NoConstraint, "C01"),
    "409 while a copy is handled": Pair(work.BusyConflict, work.DuplicateConflict, "C01"),
    "503 while a copy is handled": Pair(work.BusyUnavailable, work.BusyUnavailableLastWins, "C06"),
    "a row for each recipient": Pair(accounts.ByRecipient, accounts.ByRecipientLastWins, "C06"),
    "totals of each recipient": Pair(accounts.ByRecipientWithBest, accounts.OneForEachRecipient, "C16"),
    "credits of each recipient": Pair(accounts.CreditsOfRecipient, accounts.OneCreditForRecipient, "C16"),
    "one message for each recipient": Pair(accounts.Replaced, accounts.ReplacedLater, "C16"),
    "lateness in seconds": Pair(times.Lateness, times.LatenessAddedUp, "C01"),
    "dates in other forms": Pair(times.Dates, times.DatesTwice, "C01"),
    "dates of arrival in other forms": Pair(times.ArrivalDates, times.ArrivalDatesTwice, "C01"),
    "one text with a date": Pair(times.DatedText, times.DatedTextLastWins, "C06"),
    "costs in another currency": Pair(accounts.Euros, accounts.RoundsToCents, "D20"),
    "slow answers": Pair(work.AnswersSlowly, work.AnswersSlowlyLastWins, "C06"),
    "work after the answer": Pair(work.WorksAfterAnswer, work.WorksAfterAnswerTwice, "C01"),
    "work in a queue": Pair(work.WorksInQueue, work.WorksInQueueLastWins, "C06"),
    "alerts of the account": Pair(accounts.Alerts, accounts.AlertsTwice, "C17"),
    "users' replies": Pair(accounts.KeepsReplies, accounts.KeepsOneReply, "D15"),
    "users' replies next to their messages": Pair(accounts.Conversation, accounts.AnswersEveryCopy, "C17"),
    "replies of several users": Pair(accounts.Conversation, accounts.AnswersOneReply, "D15"),
    "a log that is removed after days": Pair(times.RemovesOldLogs, times.RemovesOldKeys, "C22"),
    "ranks alone": Pair(times.ByRank, times.ByRankDropsOld, "C23"),
    "nonces for a limited time": Pair(times.NoncesForTenMinutes, times.NoncesForAMinute, "B26"),
}
