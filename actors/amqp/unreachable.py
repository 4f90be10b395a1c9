"""What pika raises while a broker cannot be reached, for whoever connects for a short task."""

from __future__ import annotations

from typing import Final

from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

# A handshake that is never answered is told by the second, which is none of the first.
UNREACHABLE: Final = (AMQPError, AMQPConnectorException, OSError)
