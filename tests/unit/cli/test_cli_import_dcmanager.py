"""`prestager subcloud import --from-dcmanager`: sites and groups of a dcmanager that answers over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import select

from db.schema import subcloud_groups, subclouds

TOKEN = "gAAAA-hidden"


class Dcmanager(ThreadingHTTPServer):
    """Answers as dcmanager does; `pages` may be changed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        group = {"id": 1, "name": "Default", "description": "Default", "update_apply_type": "parallel"}
        north = {"id": 7, "name": "north", "description": "Up there", "update_apply_type": "serial"}
        self.pages: dict[str, Any] = {
            "/v1.0/subcloud-groups/": {
                "subcloud_groups": [group | {"max_parallel_subclouds": 2}, north | {"max_parallel_subclouds": 9}]
            },
            "/v1.0/subclouds/": {"subclouds": [site("edge-1", 7), site("edge-2", 1, **{"deploy-status": "secondary"})]},
            "/v1.0/subclouds/edge-1/detail": {"oam_floating_ip": "10.10.20.5"},
            "/v1.0/subclouds/edge-2/detail": {"oam_floating_ip": "unavailable"},
        }

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self.server_port}/v1.0"


class _Handler(BaseHTTPRequestHandler):
    server: Dcmanager

    def do_GET(self) -> None:
        body = json.dumps(self.server.pages.get(self.path)).encode()
        self.send_response(self.server.status if self.headers["X-Auth-Token"] == TOKEN else 401)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def site(name: str, group: int, **changes: Any) -> dict[str, Any]:
    """Return a site as the list has it."""
    return {
        "name": name,
        "description": None,
        "location": "roof",
        "software-version": "22.12",
        "management-state": "managed",
        "availability-status": "online",
        "deploy-status": "prestage-complete",
        "group_id": group,
        **changes,
    }


@pytest.fixture
def dcmanager() -> Iterator[Dcmanager]:
    """Give a dcmanager with two sites."""
    with Dcmanager() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """Give the file of a token."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


def test_sites_and_groups(prestager, database, dcmanager: Dcmanager, token: Path) -> None:
    """Sites come with their versions, states, addresses and groups; again, nothing changes."""
    arguments = ("subcloud", "import", "--from-dcmanager", dcmanager.url, "--token-file", str(token))
    first = prestager(*arguments)
    again = prestager(*arguments, "--update")

    assert "2 subclouds added, 0 updated, 0 unchanged; 1 groups added.\n" == first.out, first.err
    assert "0 subclouds added, 0 updated, 2 unchanged; 0 groups added.\n" == again.out, again.err
    columns = subclouds.c
    query = select(
        columns.name,
        columns.software_version,
        columns.management_state,
        columns.availability_status,
        columns.deploy_status,
        columns.oam_floating_ip,
        subcloud_groups.c.name,
        subcloud_groups.c.max_parallel_subclouds,
    ).join(subcloud_groups)
    with database.read() as connection:
        rows = sorted(map(tuple, connection.execute(query)))
    assert [
        ("edge-1", "22.12", "managed", "online", "complete", "10.10.20.5", "north", 9),
        ("edge-2", "22.12", "managed", "online", "secondary", None, "Default", 2),
    ] == rows


@pytest.mark.parametrize(
    ("status", "pages", "complaint"),
    [
        (403, {}, "was answered with 403. The token is not valid there"),
        (302, {}, "was answered with 302"),
        (503, {}, "was answered with 503"),
        (200, {"/v1.0/subclouds/": {"subclouds": [site("a", 1), site("a", 1)]}}, "has 'a' twice"),
        (200, {"/v1.0/subclouds/": {"subclouds": []}}, "has no subclouds"),
        (200, {"/v1.0/subcloud-groups/": ["something else"]}, "does not answer as dcmanager does"),
    ],
)
def test_another_answer(
    prestager, database, dcmanager: Dcmanager, token: Path, status: int, pages: dict[str, Any], complaint: str
) -> None:
    """What is no proper answer is told, the token stays where it is, and nothing is imported."""
    dcmanager.status = status
    dcmanager.pages |= pages

    ended = prestager("subcloud", "import", "--from-dcmanager", dcmanager.url, "--token-file", str(token))

    assert 1 == ended.code
    assert complaint in ended.err
    assert TOKEN not in ended.err


def test_a_token_that_is_not_taken(prestager, database, dcmanager: Dcmanager, token: Path) -> None:
    """A token that ran out is told with what to look at; there is no password to log in with instead."""
    token.write_text("gAAAA-older")

    ended = prestager("subcloud", "import", "--from-dcmanager", dcmanager.url, "--token-file", str(token))

    assert (1, True) == (ended.code, "The token was not taken (401). The token is not valid there" in ended.err)
    assert "gAAAA" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Give a file, or --from-dcmanager"),
        (("--from-dcmanager", "http://127.0.0.1:1/v1.0"), "together with --token-file"),
        (("--from-dcmanager", "http://u:hidden@h/v1.0", "--token-file", "TOKEN"), "takes the address of its API"),
        (("--from-dcmanager", "file:///etc/passwd", "--token-file", "TOKEN"), "takes the address of its API"),
        (("--from-dcmanager", "http://127.0.0.1:1/v1.0", "--token-file", "TOKEN"), "refused the connection"),
        (("--from-dcmanager", "http://127.0.0.1:1/v1.0", "--token-file", "/nowhere"), "cannot be read"),
    ],
)
def test_mistakes(prestager, database, token: Path, arguments: tuple[str, ...], complaint: str) -> None:
    """A mistake is told before anything is asked or changed."""
    ended = prestager("subcloud", "import", *(str(token) if word == "TOKEN" else word for word in arguments))

    assert 1 == ended.code
    assert complaint in ended.err
    assert "hidden" not in ended.err
