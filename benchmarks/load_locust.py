"""A locustfile: FastHttpUser signs each callback anew, and does nothing else. `benchmarks.load` runs it."""

from __future__ import annotations

import time

from locust import FastHttpUser, task

from benchmarks import subject
from engagelab_mock import Generator, encode
from engagelab_mock.protocol.signature import HEADER, Signer

_SIGNER = Signer(subject.USERNAME, subject.SECRET)
_NONCES = Generator.seeded(0)
_BODY = encode([subject.event()]).decode()


class Signing(FastHttpUser):
    """Send as many callbacks as it can."""

    @task
    def callback(self) -> None:
        header = _SIGNER.header(int(time.time()), _NONCES.nonce())
        self.client.post("", data=_BODY, headers={"Content-Type": "application/json", HEADER: header})
