"""Tests of the project, as its owner writes them: Django's test cases, in and without a transaction."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.test import TestCase, TransactionTestCase

from engagelab_mock import EngageLab, Receiver, UsageError

VIEWS = ["plain", "awaiting"]


def wsgi(view: str = "plain") -> EngageLab:
    return EngageLab(Receiver.wsgi(get_wsgi_application(), view))


def asgi(view: str = "plain") -> EngageLab:
    return EngageLab(Receiver.asgi(get_asgi_application(), view, lifespan=False))


class InATransaction(TestCase):
    """What one test writes is rolled back, so the next one starts with no rows."""

    def setUp(self) -> None:
        assert Group.objects.count() == 0

    def test_wsgi(self) -> None:
        for number, view in enumerate(VIEWS, 1):
            with wsgi(view) as engagelab:
                engagelab.send(scenario=["plan"])
            assert Group.objects.count() == number

    def test_asgi(self) -> None:
        for number, view in enumerate(VIEWS, 1):
            with asgi(view) as engagelab:
                engagelab.send(scenario=["plan"])
            assert Group.objects.count() == number

    def test_asgi_at_once(self) -> None:
        for view in VIEWS:
            with asgi(view) as engagelab:
                engagelab.send_many(3, scenario=["plan"])
                engagelab.send(scenario=["plan"], fault="duplicate", check=True)
        assert Group.objects.count() == 2 * (3 + 2)

    def test_wsgi_one_after_the_other(self) -> None:
        with wsgi() as engagelab:
            engagelab.send_many(3, scenario=["plan"], concurrency=1)
        assert Group.objects.count() == 3

    def test_wsgi_at_once_is_refused(self) -> None:
        engagelab = wsgi()
        for send in (
            lambda: engagelab.send_many(3, scenario=["plan"]),
            lambda: engagelab.send(scenario=["plan"], fault="duplicate"),
        ):
            with pytest.raises(UsageError, match="called from several threads") as caught:
                send()
            assert "@pytest.mark.django_db(transaction=True)" in caught.value.hint
        assert engagelab.journal.deliveries == []
        assert len(engagelab.journal.refusals) == 2
        assert Group.objects.count() == 0

    def test_the_bundled_receiver_at_once(self) -> None:
        with EngageLab() as engagelab:
            assert len(engagelab.send_many(3)) == 3

    def test_what_checks_send_at_once(self) -> None:
        with wsgi() as engagelab:
            report = engagelab.check(only=["C02"], observe=lambda message_id: Group.objects.count())
        [finding] = [finding for finding in report.findings if finding.check.id == "C02"]
        assert "transaction=True" in finding.reason

    def test_z_the_next_one_starts_with_no_rows(self) -> None:
        pass


class WithoutATransaction(TransactionTestCase):
    def test_wsgi_at_once(self) -> None:
        with wsgi() as engagelab:
            engagelab.send_many(3, scenario=["plan"], concurrency=2)
            engagelab.send(scenario=["plan"], fault="duplicate", check=True)
        assert Group.objects.count() == 3 + 2

    def test_asgi(self) -> None:
        for view in VIEWS:
            with asgi(view) as engagelab:
                engagelab.send_many(3, scenario=["plan"], concurrency=2)
        assert Group.objects.count() == 6

    async def test_both_in_an_asynchronous_test(self) -> None:
        for view in VIEWS:
            for make in (wsgi, asgi):
                with make(view) as engagelab:
                    await engagelab.asend(scenario=["plan"])
        assert await Group.objects.acount() == 4
