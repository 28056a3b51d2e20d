"""The recording at the top of the README: a test that plays every order, and fails."""

from __future__ import annotations

from recording import draw_terminal, find, run_test

ALT = (
    "A terminal. pytest runs a test with engagelab.explore and converges. It fails: after the callback "
    "delivered, verified was expected and delivered was found. A table has the two callbacks, verified and then "
    "delivered, and the receiver's status before and after each. The last lines say how to send the same two "
    "callbacks again."
)

TEST = """\
import pytest
from flask import Flask, request
from engagelab_mock import Receiver, converges

app = Flask(__name__)
statuses = {}


@app.post("/engagelab")
def engagelab_callbacks():
    for row in request.get_json()["rows"]:
        statuses[row["message_id"]] = row["status"]["message_status"]
    return "", 200


@pytest.fixture
def engagelab_receiver():
    return Receiver.wsgi(app, path="/engagelab", observe=statuses.get)


def test_every_order(engagelab):
    engagelab.explore("verified", invariants=[converges()])
"""


def draw() -> str:
    lines = run_test(TEST)
    first = lines.index(find(lines, "    def test_every_order"))
    last = lines.index(find(lines, "E         engagelab.replay"))
    return draw_terminal(["$ pytest test_shop.py", "", *lines[first : last + 1]], alt=ALT)
