"""Secrets in commands that come over RabbitMQ."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.amqp.cloudevents import TYPE_PREFIX, to_command
from messages.errors import RequestError
from messages.requests.base import parse_request
from messages.requests.subcloud import NewSubcloud


def sent(request: dict[str, Any]) -> dict[str, Any]:
    """Return what the coordinator gets of a request."""
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/test",
        "type": f"{TYPE_PREFIX}subcloud.add",
        "data": {"request": request},
    }
    return to_command(json.dumps(event).encode(), "/ours", is_ours=False).data


def test_secrets_go_no_further() -> None:
    """A secret that a publisher writes in the clear is left out of the command, however deep it is."""
    request = {"name": "a", "sysadmin_password": "hunter2", "more": {"list": [{"api_key": "hunter2", "port": 1}]}}

    assert {"name": "a", "more": {"list": [{"port": 1}]}} == sent(request)


@pytest.mark.parametrize(
    "connection", [{"ansible_port": 22, "x": {"y": [{"bmc_pwd": "hunter2"}]}}, {"ansible_ssh_pass": "hunter2"}]
)
def test_a_secret_in_a_connection_is_refused(connection: dict[str, Any]) -> None:
    """A secret among connection variables is refused by its name, not dropped without a word."""
    with pytest.raises(RequestError, match="looks like a secret") as refused:
        parse_request(NewSubcloud, sent({"name": "a", "connection": connection}))

    assert "hunter2" not in str(refused.value)
