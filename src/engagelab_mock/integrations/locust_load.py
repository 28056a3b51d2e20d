"""The locustfile of `engagelab-mock load --processes`, whose user has the options of the command."""

from __future__ import annotations

import json
import os

from engagelab_mock.integrations.locust import EngageLabUser

#: The environment variable with the options, as JSON: the attributes of the user class.
VARIABLE = "ENGAGELAB_MOCK_LOAD"

Callbacks = type("Callbacks", (EngageLabUser,), json.loads(os.environ.get(VARIABLE, "{}")))
