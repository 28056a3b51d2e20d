"""A Flask app that receives through the vendor's own SDK."""

from __future__ import annotations

from engagelab_otp import CallbackEvent, MessageStatusEvent, WebhookVerifier
from flask import Flask


class FlaskReceiver:
    """Keep what the SDK's view hands to its handler."""

    def __init__(self, username: str = "acme", secret: str = "s3cret") -> None:
        self.events: list[CallbackEvent] = []
        self.app = Flask(__name__)
        view = WebhookVerifier(username, secret).flask_view(self.events.extend)
        self.app.add_url_rule("/engagelab", "engagelab", view, methods=["POST"])

    @property
    def statuses(self) -> list[str]:
        """Return the statuses received, in order."""
        return [event.status for event in self.events if isinstance(event, MessageStatusEvent)]
