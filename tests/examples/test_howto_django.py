"""Django: the view is called in process through the project's own WSGI handler."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from django.views.decorators.http import require_POST
from tests.django_settings import configure

from engagelab_mock import EngageLab, Receiver

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_project_passes_its_tests(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--noconftest", "-c", os.devnull, "-p", "no:cacheprovider"]
    tested = subprocess.run(
        [*command, "tests/examples/django_shop/test_shop.py"],
        cwd=ROOT,
        env={**os.environ, "SHOP_DATABASE": str(tmp_path / "shop.sqlite3")},
        capture_output=True,
        text=True,
    )
    assert tested.returncode == 0, tested.stdout
    assert " 4 passed" in tested.stdout


@require_POST
def unexempted(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [path("unexempted", unexempted)]


@pytest.fixture
def application() -> Iterator[WSGIHandler]:
    """Stand in for a project's wsgi.py and settings."""
    middleware = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
    configure()
    with override_settings(ALLOWED_HOSTS=["testserver"], ROOT_URLCONF=__name__, MIDDLEWARE=middleware):
        yield get_wsgi_application()


# [csrf]
def test_a_view_that_wants_a_csrf_token_refuses_the_callback(application: WSGIHandler) -> None:
    receiver = Receiver.wsgi(application, path="/unexempted", username="acme", secret="s3cret")
    with EngageLab(receiver) as engagelab:
        run = engagelab.send("+6591234567", check=False)
    response = run.deliveries[0].attempts[0].response
    assert response is not None
    assert response.status == 403
