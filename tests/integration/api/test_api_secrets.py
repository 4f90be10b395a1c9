from __future__ import annotations

import pytest

from messages.commands import Answer
from messages.errors import TransportUnavailableError
from tests.support.served_api import ServedApi, multipart

PLAIN, ENCODED = "Li69nux*", "TGk2OW51eCo="
GOOD = {"type": "prestage", "sysadmin_password": ENCODED}
FORM = multipart(
    ("bootstrap_values", "f.yml", f"name: a\nadmin_password: {PLAIN}\n".encode()), ("sysadmin_password", ENCODED)
)
REQUESTS = [
    ("POST", "/v1.0/sw-update-strategy", GOOD, {}),
    ("POST", "/v1.0/sw-update-strategy", {"sysadmin_password": PLAIN}, {}),
    ("POST", "/v1.0/sw-update-strategy", f'{{"sysadmin_password": "{ENCODED}", "a": \\ "{PLAIN}"', {}),
    ("POST", "/v1.0/sw-update-strategy/actions", {"action": "apply", "sysadmin_password": ENCODED}, {}),
    ("PATCH", "/v1.0/subclouds/a/prestage", GOOD, {}),
    ("PATCH", "/v1.0/subclouds/a", {"location": "x", "sysadmin_password": ENCODED}, {}),
    ("POST", "/v1.0/subclouds", {"name": "a", "ansible_become_pass": PLAIN, "sysadmin_password": ENCODED}, {}),
    ("POST", "/v1.0/subclouds", {"name": "a", "registries": {"docker.io": {"password": PLAIN}}}, {}),
    ("POST", "/v1.0/subclouds", *FORM),
    ("POST", "/v1.0/subcloud-groups", {"name": "a", "sysadmin_password": ENCODED}, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [Answer(status=200, body={}), Answer(status=422, detail="no"), TransportUnavailableError(), RuntimeError()],
)
@pytest.mark.parametrize(("method", "path", "body", "headers"), REQUESTS)
async def test_passwords_stay_inside(
    api: ServedApi,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    body: dict[str, str] | str | bytes,
    headers: dict[str, str],
    answer: Answer | Exception,
) -> None:
    """A password, plain or base64, is in no message, no log and no answer, whatever becomes of the request."""
    api.transport.answer = answer

    reply = await api.send(method, path, body, headers=headers)

    messages = [command.model_dump_json() for command in api.transport.commands]
    logs = [*capfd.readouterr(), caplog.text]
    for text in (*messages, *logs, reply.text, str(reply.headers)):
        assert PLAIN not in text
        assert ENCODED.rstrip("=") not in text
        assert api.token("admin") not in text
    assert any("request" in log for log in logs)
