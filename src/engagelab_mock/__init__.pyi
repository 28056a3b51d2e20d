"""The public names of engagelab-mock, for type checkers; `__init__.py` loads each when it is first used."""

from typing import Final

from engagelab_mock.clock import Clock as Clock
from engagelab_mock.clock import SystemClock as SystemClock
from engagelab_mock.clock import VirtualClock as VirtualClock
from engagelab_mock.delivery.journal import Journal as Journal
from engagelab_mock.delivery.model import Attempt as Attempt
from engagelab_mock.delivery.model import Delivery as Delivery
from engagelab_mock.delivery.model import Refusal as Refusal
from engagelab_mock.delivery.model import Response as Response
from engagelab_mock.delivery.model import Run as Run
from engagelab_mock.delivery.outcome import Outcome as Outcome
from engagelab_mock.delivery.receiver import Receiver as Receiver
from engagelab_mock.delivery.recorder import Received as Received
from engagelab_mock.delivery.recorder import Recorder as Recorder
from engagelab_mock.errors import EngageLabMockError as EngageLabMockError
from engagelab_mock.errors import IllegalTransition as IllegalTransition
from engagelab_mock.errors import InvalidBody as InvalidBody
from engagelab_mock.errors import InvalidDelay as InvalidDelay
from engagelab_mock.errors import InvalidRecipient as InvalidRecipient
from engagelab_mock.errors import InvalidSettings as InvalidSettings
from engagelab_mock.errors import NotAcknowledged as NotAcknowledged
from engagelab_mock.errors import UnknownName as UnknownName
from engagelab_mock.errors import UsageError as UsageError
from engagelab_mock.faker_provider import EngageLabProvider as EngageLabProvider
from engagelab_mock.generate import Generator as Generator
from engagelab_mock.lifecycle.catalogue import CATALOGUE as CATALOGUE
from engagelab_mock.lifecycle.graph import INFERRED as INFERRED
from engagelab_mock.lifecycle.graph import START as START
from engagelab_mock.lifecycle.graph import TransitionGraph as TransitionGraph
from engagelab_mock.lifecycle.message import Message as Message
from engagelab_mock.lifecycle.scenario import Scenario as Scenario
from engagelab_mock.lifecycle.scenario import Transition as Transition
from engagelab_mock.protocol.callback import Callback as Callback
from engagelab_mock.protocol.callback import Envelope as Envelope
from engagelab_mock.protocol.callback import decode as decode
from engagelab_mock.protocol.callback import encode as encode
from engagelab_mock.protocol.channel import Channel as Channel
from engagelab_mock.protocol.dialect import DIALECTS as DIALECTS
from engagelab_mock.protocol.dialect import Dialect as Dialect
from engagelab_mock.protocol.errorcodes import ERROR_CODES as ERROR_CODES
from engagelab_mock.protocol.errorcodes import ErrorCode as ErrorCode
from engagelab_mock.protocol.events import Event as Event
from engagelab_mock.protocol.events import NotificationEvent as NotificationEvent
from engagelab_mock.protocol.events import ResponseEvent as ResponseEvent
from engagelab_mock.protocol.events import StatusEvent as StatusEvent
from engagelab_mock.protocol.events import SystemEvent as SystemEvent
from engagelab_mock.protocol.events import UnknownEvent as UnknownEvent
from engagelab_mock.protocol.headers import Headers as Headers
from engagelab_mock.protocol.schema import callback_schema as callback_schema
from engagelab_mock.protocol.settings import CallbackSettings as CallbackSettings
from engagelab_mock.protocol.signature import Reason as Reason
from engagelab_mock.protocol.signature import Signature as Signature
from engagelab_mock.protocol.signature import Verdict as Verdict
from engagelab_mock.protocol.signature import parse as parse
from engagelab_mock.protocol.signature import sign as sign
from engagelab_mock.protocol.signature import verify as verify
from engagelab_mock.protocol.status import Status as Status
from engagelab_mock.service.engagelab import EngageLab as EngageLab

__version__: Final[str]
