"""The tables, gathered here so that references between them always resolve.

They must equal what the migrations make; a test compares the two.
"""

from __future__ import annotations

from db.schema.base import metadata
from db.schema.heartbeats import heartbeats, secret_keys
from db.schema.inventory import controller, subcloud_groups, subclouds, tokens
from db.schema.messages import audit, commands, events, outbox
from db.schema.runs import live_outputs, run_outputs, runs
from db.schema.strategies import preparations, secrets, steps, strategies
from db.schema.webhooks import webhook_deliveries, webhooks

__all__ = [
    "audit",
    "commands",
    "controller",
    "events",
    "heartbeats",
    "live_outputs",
    "metadata",
    "outbox",
    "preparations",
    "run_outputs",
    "runs",
    "secret_keys",
    "secrets",
    "steps",
    "strategies",
    "subcloud_groups",
    "subclouds",
    "tokens",
    "webhook_deliveries",
    "webhooks",
]
