"""A coordinator and senders over one database; commands in, requests out."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from actors.coordinator.coordinator import Coordinator
from db.database import Database
from db.encryption import Sealer
from db.schema import events, webhook_deliveries, webhooks
from db.unit_of_work import unit_of_work
from messages.commands import Answer, Command, CommandType
from tests.integration.webhooks.receiver import Got
from tests.support.installation import Installation
from webhooks.http_client import WebhookClient
from webhooks.repository import WebhookRepository
from webhooks.sender import WebhookSender

SECRET = "whsec_" + "c2VjcmV0" * 4
LOOPBACK = (ip_network("127.0.0.0/8"),)
GIVE_UP_S = 5 * 86400.0


@dataclass
class Counted:
    """Counts tries."""

    outcomes: list[str] = field(default_factory=list)

    def webhook_tried(self, outcome: str) -> None:
        self.outcomes.append(str(outcome))


class WebhookInstallation(Installation):
    """A coordinator and senders, whose commands may carry a webhook's secret and no password."""

    def __init__(self, database: Database, coordinator: Coordinator | None, sealer: Sealer) -> None:
        super().__init__(database, coordinator, sealer)
        self.metrics = Counted()

    def ask(
        self, kind: CommandType, subject: str | None = None, /, *, secret: str | None = None, **data: Any
    ) -> Answer:
        """Carry a command out, with a sealed secret where one is given."""
        command = Command(type=kind, subject=subject, data=data)
        if secret is not None:
            sealed = self.sealer.seal(secret, bound_to=command.id)
            command = command.model_copy(update={"sealed_password": sealed})
        return self.execute(command)

    def add(self, name: str, url: str, **data: Any) -> int:
        """Make a webhook and return its id."""
        answer = self.ask(CommandType.WEBHOOK_CREATE, secret=SECRET, name=name, url=url, **data)
        assert answer.status == 200, answer.detail
        return int(answer.body["id"])

    def change(self, name: str, /, **data: Any) -> Answer:
        """Change a webhook."""
        return self.ask(CommandType.WEBHOOK_UPDATE, name, **data)

    def tell(self, count: int = 1, kind: str = "step.prestage.complete", **data: Any) -> list[int]:
        """Have things happen; return the numbers of the events."""
        with unit_of_work(self.database, datetime(2026, 11, 22, 12, tzinfo=UTC)) as work:
            for _ in range(count):
                work.emit(kind, "step/1", {"strategy": 1, "subcloud": "edge-1", "stage": 1, **data})
        with self.database.read() as connection:
            newest = select(events.c.id).order_by(events.c.id.desc()).limit(count)
            return sorted(connection.execute(newest).scalars())

    def sender(
        self,
        owner: str = "me",
        *,
        ca_file: Path | None = None,
        allowed: Any = LOOPBACK,
        timeout_s: float = 5.0,
    ) -> WebhookSender:
        """Return a sender; its receivers are a context of the test's own."""
        receivers = WebhookClient(ca_file=ca_file, allowed=allowed, timeout_s=timeout_s)
        repository = WebhookRepository(self.database, owner, GIVE_UP_S)
        return WebhookSender(repository, self.sealer, receivers, self.metrics, chance=lambda: 0.0)

    async def send(self, **options: Any) -> None:
        """Look until nothing is due any more, as one sender, which then stops."""
        sender = self.sender(**options)
        async with sender._client:
            while True:
                await sender.poll()
                if not sender._tasks:
                    break
                await sender.settle()
            await sender._end()

    def rows(self, table: Any = webhook_deliveries, **where: Any) -> list[dict[str, Any]]:
        """Return rows in id order, of deliveries unless otherwise said."""
        return super().rows(table, **where)

    def webhook(self, name: str) -> dict[str, Any]:
        """Return a webhook."""
        (row,) = self.rows(webhooks, name=name)
        return row

    def states(self) -> list[str]:
        """Return the states of all deliveries."""
        return [row["state"] for row in self.rows()]

    def due(self) -> None:
        """Let the time pass until whatever is open is due."""
        with self.database.write() as connection:
            waiting = update(webhook_deliveries).where(webhook_deliveries.c.next_attempt_at.is_not(None))
            connection.execute(waiting.values(next_attempt_at=0.0))

    def set(self, table: Any, **values: Any) -> None:
        """Change every row of a table."""
        with self.database.write() as connection:
            connection.execute(update(table).values(**values))


def is_signed(got: Got, secret: str = SECRET) -> bool:
    """Tell by the specification's words alone whether one of the signatures is right."""
    content = b".".join([got.headers["webhook-id"].encode(), got.headers["webhook-timestamp"].encode(), got.body])
    key = b64decode(secret.split("_", 1)[1])
    digest = b64encode(hmac.new(key, content, sha256).digest()).decode()
    return f"v1,{digest}" in got.headers["webhook-signature"].split(" ")
