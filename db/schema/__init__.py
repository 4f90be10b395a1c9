"""The tables, gathered here so that references between them always resolve; column types and the database's clock.

They must equal what the migrations make; a test compares the two.
"""

from __future__ import annotations

from db.schema.base import BigId, UtcDateTime, database_now, is_among, metadata, time_bucket
from db.schema.inventory import (
    controller,
    heartbeats,
    login_codes,
    secret_keys,
    subcloud_groups,
    subclouds,
    tokens,
)
from db.schema.messages import audit, commands, events, outbox, webhook_deliveries, webhooks
from db.schema.strategies import (
    forecasts,
    holds,
    live_outputs,
    preparations,
    problems,
    run_outputs,
    runs,
    secrets,
    step_has_begun,
    step_has_ended,
    step_is_held_alone,
    step_is_in_flight,
    step_is_initial,
    step_is_open,
    steps,
    strategies,
    strategy_is_active,
    strategy_stages,
)

__all__ = [
    "BigId",
    "UtcDateTime",
    "audit",
    "commands",
    "controller",
    "database_now",
    "events",
    "forecasts",
    "heartbeats",
    "holds",
    "is_among",
    "live_outputs",
    "login_codes",
    "metadata",
    "outbox",
    "preparations",
    "problems",
    "run_outputs",
    "runs",
    "secret_keys",
    "secrets",
    "step_has_begun",
    "step_has_ended",
    "step_is_held_alone",
    "step_is_in_flight",
    "step_is_initial",
    "step_is_open",
    "steps",
    "strategies",
    "strategy_is_active",
    "strategy_stages",
    "subcloud_groups",
    "subclouds",
    "time_bucket",
    "tokens",
    "webhook_deliveries",
    "webhooks",
]
