"""The log of the service: our events and those of libraries in one form, on standard error.

Tracebacks come without the values of variables: a password may be among them.
"""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Final, Literal

import structlog
from structlog.types import Processor

from monitoring.redaction import redact
from tracing.tracer import add_context

# Their records below warning are of no use to operators.
_QUIET: Final = (
    *("dramatiq", "aiohttp", "alembic", "asyncio", "keystoneauth", "urllib3"),
    # Ten lines of the same for each line of ours about a step.
    "transitions",
)
# They raise what they log, and it is logged as `broker.not-ready`.
_SILENT: Final = ("pika", "aio_pika", "aiormq")
# Dramatiq's consumers log each try to connect, several in a second.
_REPEATED: Final = "dramatiq.worker.ConsumerThread"
_REPEATED_S: Final = 60.0


def configure_logs(form: Literal["auto", "json", "text"], level: str) -> None:
    """Send every record of at least `level` to standard error; `auto` is text on a terminal and JSON elsewhere."""
    number = logging.getLevelNamesMapping()[level.upper()]
    is_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_facts(),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(is_text=is_text)],
        )
    )
    handler.addFilter(_OncePerMinute())
    # aio-pika's refused connections warn on standard error when they are collected.
    warnings.filterwarnings("ignore", "coroutine 'Connection.close' was never awaited", RuntimeWarning)
    logging.basicConfig(handlers=[handler], level=number, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_facts(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class _OncePerMinute(logging.Filter):
    """Passes a line of Dramatiq's consumers when it differs from the last one of its logger, or a minute later."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, tuple[str, float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        if not record.name.startswith(_REPEATED):
            return True
        text, at = self._last.get(record.name, ("", 0.0))
        now = record.getMessage()
        if now == text and record.created - at < _REPEATED_S:
            return False
        self._last[record.name] = (now, record.created)
        return True


def _facts() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        add_context,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(*, is_text: bool) -> list[Processor]:
    if is_text:
        plain = structlog.dev.plain_traceback
        # A traceback is a text before it is redacted.
        console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        return [structlog.processors.format_exc_info, redact, console]
    return [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
