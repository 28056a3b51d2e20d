"""The locustfile of `engagelab-mock load --processes`, whose user has the options of the command."""

from __future__ import annotations

import json
import os

from engagelab_mock.integrations.locust import EngageLabUser
from engagelab_mock.load import ATTRIBUTES

Callbacks = type("Callbacks", (EngageLabUser,), json.loads(os.environ.get(ATTRIBUTES, "{}")))
