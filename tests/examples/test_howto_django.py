"""Django: the view is called in process through the project's own WSGI handler."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from engagelab_otp import WebhookSignatureError, WebhookVerifier

from engagelab_mock import EngageLab, Receiver

states: dict[str, str] = {}
verifier = WebhookVerifier("acme", "s3cret")


# [view]
@csrf_exempt
@require_POST
def engagelab_callbacks(request: HttpRequest) -> HttpResponse:
    if request.body in {b"", b"{}"}:
        return HttpResponse()  # the address validation, unsigned in EngageLab's document
    try:
        verifier.verify(request.headers.get("X-CALLBACK-ID", ""))
    except WebhookSignatureError:
        return HttpResponse(status=401)
    for row in json.loads(request.body)["rows"]:
        if "status" in row:
            states[row["message_id"]] = row["status"]["message_status"]
    return HttpResponse()


# [unexempted]
@require_POST
def unexempted(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [path("engagelab", engagelab_callbacks), path("unexempted", unexempted)]


# [project]
@pytest.fixture
def application() -> Iterator[WSGIHandler]:
    """Stand in for a project's wsgi.py and settings."""
    # Not at the top: pytest's doctest collection would ask this object for its attributes before it is configured.
    from django.conf import settings

    states.clear()
    middleware = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
    if not settings.configured:
        settings.configure(SECRET_KEY="tests")
    with override_settings(ALLOWED_HOSTS=["testserver"], ROOT_URLCONF=__name__, MIDDLEWARE=middleware):
        yield get_wsgi_application()


# [fixtures]
@pytest.fixture
def engagelab_receiver(application: WSGIHandler) -> Receiver:
    return Receiver.wsgi(application, path="/engagelab", username="acme", secret="s3cret")


# [tests]
def test_verified(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567")
    assert states == {run.message_id: "verified"}


def test_the_address_is_valid(engagelab: EngageLab) -> None:
    engagelab.validate_address()


# [csrf]
def test_a_view_that_wants_a_csrf_token_refuses_the_callback(application: WSGIHandler) -> None:
    receiver = Receiver.wsgi(application, path="/unexempted", username="acme", secret="s3cret")
    with EngageLab(receiver) as engagelab:
        run = engagelab.send("+6591234567", check=False)
    response = run.deliveries[0].attempts[0].response
    assert response is not None
    assert response.status == 403
