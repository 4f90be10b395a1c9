from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from messages.commands import Answer
from messages.errors import NoAnswerInTimeError, TransportUnavailableError
from tests.support.served_api import ServedApi

PATH = "/v1.0/sw-update-strategy"
BODY = {"type": "prestage"}
INTERNAL = "The server has either erred or is incapable of performing the requested operation."
# What dcmanager's client sends, beside its token.
CLIENT = {"Accept": "*/*", "X-Project-Id": "0af7651916cd43dd8448eb211c80319c", "X-User-Id": "b7ad6b7169203331"}


async def test_page(api: ServedApi) -> None:
    """The client's error is WebOb's page: status, explanation, and the escaped detail in the third line."""
    api.transport.answer = Answer(status=400, detail="<script> & \"quotes\" of 'x'")

    reply = await api.send("POST", PATH, BODY, headers=CLIENT)

    assert reply.status == 400
    assert reply.headers["content-type"] == "text/html; charset=UTF-8"
    assert reply.text == (
        "<html>\n <head>\n  <title>400 Bad Request</title>\n </head>\n <body>\n  <h1>400 Bad Request</h1>\n"
        "  The server could not comply with the request since it is either malformed or otherwise incorrect."
        "<br /><br />\n&lt;script&gt; &amp; &quot;quotes&quot; of &#x27;x&#x27;\n\n\n </body>\n</html>"
    )
    assert reply.detail == "<script> & \"quotes\" of 'x'"


@pytest.mark.parametrize("headers", [CLIENT, {"Accept": "application/json"}])
@pytest.mark.parametrize("path", [PATH, "/v1.0/x"])
async def test_no_cache_keeps_an_error(api: ServedApi, path: str, headers: dict[str, str]) -> None:
    """An error is kept by no cache, which would give it to a caller who wants the other form, and is never guessed."""
    reply = await api.send("GET", path, headers=headers)

    assert reply.status == 404
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["vary"] == "Accept, X-Project-Id, X-User-Id, OIDC-Token"
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("status", "title", "explanation"),
    [
        (404, "Not Found", "The resource could not be found."),
        (409, "Conflict", "There was a conflict when trying to complete your request."),
        (422, "Unprocessable Entity", "Unable to process the contained instructions"),
        (500, "Internal Server Error", INTERNAL),
        (418, "I'm a Teapot", INTERNAL),
        (299, "Error", INTERNAL),
    ],
)
async def test_answers_in_both_forms(api: ServedApi, status: int, title: str, explanation: str) -> None:
    """Whatever the coordinator refuses comes as a page for dcmanager's client, and as JSON for others."""
    api.transport.answer = Answer(status=status, detail="because")

    page = await api.send("POST", PATH, BODY, headers=CLIENT)
    assert page.status == status
    assert [line.strip() for line in page.lines] == [f"{status} {title}", explanation, "because"]

    reply = await api.send("POST", PATH, BODY)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    assert reply.json == {"code": status, "title": title, "description": "because"}


@pytest.mark.parametrize(
    "path", ["/v2.0/subclouds", "/v1.1/subclouds", "/v1.0", "/v1.0/", "/v1.0/x", f"{PATH}/x", "/favicon.ico"]
)
@pytest.mark.parametrize("role", ["reader", None])
async def test_unknown_path(api: ServedApi, path: str, role: str | None) -> None:
    """A path that there is not is 404 and names where the others are, with or without a token."""
    reply = await api.send("GET", path, role=role)

    assert reply.status == 404
    assert reply.detail == "There is no such path. GET /docs shows those that there are."


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1.0/subclouds", "GET,POST"),
        ("PUT", "/v1.0/subclouds/", "GET,POST"),
        ("HEAD", "/v1.0/subclouds", "GET,POST"),
        ("PUT", "/v1.0/subclouds/a", "DELETE,GET,PATCH"),
        ("GET", "/v1.0/sw-update-strategy/actions", "POST"),
        ("OPTIONS", "/v1.0/sw-update-strategy", "DELETE,GET,PATCH,POST"),
        ("POST", "/", "GET"),
        ("PUT", "/", "GET"),
        ("DELETE", "/", "GET"),
        ("HEAD", "/", "GET"),
        ("PATCH", "/", "GET"),
    ],
)
async def test_wrong_method(api: ServedApi, method: str, path: str, allow: str) -> None:
    """A method that a path has not is 405 and tells those it has."""
    reply = await api.send(method, path, role=None)

    assert reply.status == 405
    assert reply.headers["allow"] == allow
    if method != "HEAD":
        assert reply.detail == f"This path takes {allow.replace(',', ', ')}."


async def test_method_that_is_none(api: ServedApi) -> None:
    """What cannot be read as HTTP is refused without repeating any of it; nobody knows who sent it."""
    reply = await api.send("<b>", "/v1.0/subclouds", role=None, headers=CLIENT)

    assert (reply.status, reply.json["code"], "<b>" in reply.text) == (400, 400, False)


@pytest.mark.parametrize("path", ["/v1.0/subclouds", "/v1.0/nothing"])
async def test_unknown_expectation(api: ServedApi, path: str) -> None:
    """An expectation that is not known is refused in both forms, with any path."""
    reply = await api.send("GET", path, headers={"Expect": "tea"})
    page = await api.send("GET", path, headers={**CLIENT, "Expect": "tea"})

    assert (reply.status, reply.json["code"]) == (417, 417)
    assert (page.status, page.lines[0].strip()) == (417, "417 Expectation Failed")


async def test_form_without_a_body(api: ServedApi) -> None:
    """HEAD tells form and length of the error that GET would show, and shows none."""
    reply = await api.send("HEAD", "/v1.0/nothing")
    page = await api.send("HEAD", "/v1.0/nothing", headers=CLIENT)

    assert (reply.status, reply.headers["content-type"], reply.body) == (404, "application/json", b"")
    assert page.headers["content-type"] == "text/html; charset=UTF-8"


async def test_nothing_handed_over(api: ServedApi) -> None:
    """Without the coordinator's queue the answer is 503 and when to come back."""
    api.transport.answer = TransportUnavailableError("amqp://user:hidden@host")

    reply = await api.send("POST", PATH, BODY)

    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert reply.detail == "The command was not handed over, nothing was changed; try again."
    assert "hidden" not in reply.text


async def test_no_answer_in_time(api: ServedApi) -> None:
    """Without an answer in time the answer is 504 and names the command."""
    api.transport.answer = NoAnswerInTimeError()

    reply = await api.send("POST", PATH, BODY)

    assert reply.status == 504
    assert api.transport.only.id in reply.detail


async def test_unexpected_exception(api: ServedApi) -> None:
    """What nobody expected is logged once with its traceback, and nothing of it is told."""
    api.transport.answer = RuntimeError("inner workings")

    with capture_logs() as logs:
        reply = await api.send("POST", PATH, BODY)

    assert (reply.status, reply.detail) == (500, INTERNAL)
    assert "inner" not in reply.text
    (failure,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert "RuntimeError: inner workings" in failure["exception"]
    assert "Traceback" in failure["exception"]


async def test_no_database(api: ServedApi) -> None:
    """A database that does not answer is 503, for it is not the request's fault."""
    token = api.token("reader")
    with api.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE subclouds RENAME TO gone")

    reply = await api.send("GET", "/v1.0/subclouds", role=None, headers={"X-Auth-Token": token})

    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert reply.detail == "The database is not available."


async def test_access_line(api: ServedApi) -> None:
    """Each request leaves one line: no query, no body, no token, and no line end of the caller's making."""
    with capture_logs() as logs:
        await api.send("GET", "/v1.0/subclouds/a%0Ab?secret=hidden", role="reader")

    (line,) = logs
    assert line.pop("ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "path": "/v1.0/subclouds/a%0Ab",
        "status": 404,
        "caller": "reader",
    }
