"""Exceptions of this package, and explanations of errors of pika and aio-pika for operators.

The libraries' own texts name classes and internals, and leave out the remedy. Nothing here repeats a password.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final

import aiormq.exceptions
import pika
import pika.exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from messages.errors import Explanation
from statemachine.errors import PrestagerError

_DEFAULT_PORTS: Final = {False: 5672, True: 5671}


class BrokerUnavailableError(PrestagerError):
    """The broker cannot be used now; the message is a sentence with its address and the remedy, without a password."""

    def __init__(self, url: str, problem: Explanation) -> None:
        super().__init__(problem.sentence(f"The broker at {broker_address(url)}"))
        self.problem = problem


class PublishError(PrestagerError):
    """The broker did not confirm in time, refused the message, or cannot route it; it may have arrived all the same.

    Attributes:
        problem: What keeps the broker from being used, and what to do; None: it can be used, and refused the message.
    """

    def __init__(self, text: str, problem: Explanation | None = None) -> None:
        super().__init__(text)
        self.problem = problem


class BlockedError(PrestagerError):
    """The broker takes nothing in now: its memory or disk is short."""

    def __init__(self) -> None:
        super().__init__("the broker takes nothing in: its memory or disk is short")


class MalformedCommandError(PrestagerError):
    """The message is no command; the text gives the reason, and never repeats a value."""


class BadEnvelopeError(PrestagerError):
    """The message is not one of ours; the text gives the reason, and never repeats a value."""


class ControlError(PrestagerError):
    """The hint could not be given; the text gives the reason."""


class DeadLetterAdminError(PrestagerError):
    """The broker does not let the dead letters be handled; the text gives the reason."""


_LOGIN: Final = Explanation(
    reason="refuses the user or its password",
    remedy="Correct user and password in PRESTAGER_BROKER_URL; guest may log in on RabbitMQ's own machine only.",
)
_NO_VHOST: Final = Explanation(
    reason="has no such virtual host",
    remedy="Correct what follows the port in PRESTAGER_BROKER_URL (/%2F is the default one), or make it:"
    " rabbitmqctl add_vhost NAME",
)
_NO_RIGHTS: Final = Explanation(
    reason="does not let this user into the virtual host",
    remedy="Allow it: rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*'",
)
_VHOST: Final = Explanation(
    reason="refuses the virtual host",
    remedy="Correct what follows the port in PRESTAGER_BROKER_URL (/%2F is the default one), or make it and allow the"
    " user: rabbitmqctl add_vhost, set_permissions",
)
_NAME: Final = Explanation(
    reason="cannot be found: its host name is not known",
    remedy="Correct the host in PRESTAGER_BROKER_URL, or the name service of this machine.",
)
_CERTIFICATE: Final = Explanation(
    reason="shows a certificate that this machine does not trust",
    remedy="Name a host that the certificate is for in PRESTAGER_BROKER_URL, and its authority in SSL_CERT_FILE.",
)
_NO_TLS: Final = Explanation(
    reason="does not speak TLS at this port",
    remedy="Give the port for TLS in PRESTAGER_BROKER_URL, usually 5671, or write amqp:// in place of amqps://.",
)
_REFUSED: Final = Explanation(
    reason="takes no connection: nothing listens at this port",
    remedy="Start RabbitMQ, or correct host and port in PRESTAGER_BROKER_URL.",
)
_ENDED: Final = Explanation(
    reason="ended the connection",
    remedy="See that RabbitMQ runs; where the port is for TLS, write amqps:// in PRESTAGER_BROKER_URL.",
)
_SILENT: Final = Explanation(
    reason="does not answer",
    remedy="Correct host and port in PRESTAGER_BROKER_URL, and see that RabbitMQ is well and no firewall in between.",
)
_OTHER: Final = Explanation(
    reason="cannot be used", remedy="Correct PRESTAGER_BROKER_URL, and see that RabbitMQ runs and what its log says."
)


def _is(*kinds: type[BaseException]) -> Callable[[BaseException], bool]:
    return lambda error: isinstance(error, kinds)


def _says(kind: type[BaseException], words: str) -> Callable[[BaseException], bool]:
    return lambda error: isinstance(error, kind) and words in str(error)


# The first that fits any error of the chain counts: the special before the general.
_RULES: Final = (
    (_is(pika.exceptions.ProbableAuthenticationError, aiormq.exceptions.ProbableAuthenticationError), _LOGIN),
    (_is(pika.exceptions.AuthenticationError, aiormq.exceptions.AuthenticationError), _LOGIN),
    # RabbitMQ's words: both have the code 530.
    (_says(pika.exceptions.ProbableAccessDeniedError, "not found"), _NO_VHOST),
    (_is(pika.exceptions.ProbableAccessDeniedError), _NO_RIGHTS),
    # aiormq expects the virtual host to be opened, and does not read why it is not.
    (_says(aiormq.exceptions.InvalidFrameError, "Connection.OpenOk"), _VHOST),
    (_is(socket.gaierror), _NAME),
    (_is(ssl.SSLCertVerificationError), _CERTIFICATE),
    (_is(ssl.SSLError), _NO_TLS),
    (_is(ConnectionRefusedError), _REFUSED),
    (_is(AMQPConnectorStackTimeout, TimeoutError), _SILENT),
    (_is(ConnectionResetError, BrokenPipeError, EOFError, pika.exceptions.IncompatibleProtocolError), _ENDED),
    (_is(pika.exceptions.AMQPConnectionError, aiormq.exceptions.AMQPConnectionError, ConnectionError), _ENDED),
)


def explain_broker_error(error: BaseException) -> Explanation:
    """Return the problem behind an error of either library; `cannot be used` where it says little."""
    chain = tuple(_chain(error))
    return next((problem for fits, problem in _RULES if any(map(fits, chain))), _OTHER)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from; pika and aiormq carry the cause among the arguments."""
    seen: set[int] = set()
    left = [error]
    while left:
        one = left.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        carried = (*one.args, getattr(one, "exception", None), one.__cause__, one.__context__)
        left += [other for other in carried if isinstance(other, BaseException)]


def broker_address(url: str) -> str:
    """Return host and port of a broker's URL."""
    parameters = pika.URLParameters(url)
    host = f"[{parameters.host}]" if ":" in parameters.host else parameters.host
    return f"{host}:{parameters.port or _DEFAULT_PORTS[url.startswith('amqps:')]}"
