"""Logging in at the page, and where its session counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar
from aiohttp.test_utils import make_mocked_request
from sqlalchemy import update

from api import events
from api.app import create_app
from api.auth import Caller, Credentials, Login, TokenAuthenticator
from api.context import PageServices, RequestLimits
from api.docs_routes import Documents
from api.errors import ApiError, InvalidTokenError
from api.login_tries import MOST_TRIES, LoginTries
from api.page_sessions import LONGEST_S, PageSession, refuse_plain
from apidocs.openapi.assembly import make_documents
from db.database import Database
from db.encryption import Sealer
from db.schema import login_codes
from db.tokens import LoginCodes, Role, TokenStore
from tests.support.served_api import BOUNDS, RecordingTransport, ServedApi, serve
from tests.support.waiting import PATIENCE_S

OURS = {"X-Prestager-UI": "1"}
PAUSE = "/v1.0/sw-update-strategy/actions?type=prestage"


class Page:
    """A browser at the page: its cookies, and the origin that it names."""

    def __init__(self, api: ServedApi, session: ClientSession) -> None:
        self.url = f"http://{api.host}:{api.port}"
        self.session = session

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] = OURS, origin: str | None = "own", **more: Any
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Send a request as the page does; return status, JSON and headers."""
        sent = dict(headers)
        if origin is not None:
            sent["Origin"] = self.url if origin == "own" else origin
        async with self.session.request(method, self.url + path, headers=sent, **more) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else text, answer.headers

    async def log_in(self, **way: Any) -> tuple[int, Any, Mapping[str, str]]:
        """Log in."""
        return await self.ask("POST", "/ui/session", json=way)


@pytest.fixture
def may_be_plain() -> bool:
    """Whether logins over plain HTTP are taken from everywhere."""
    return False


@pytest.fixture
async def served(
    database: Database, sealer: Sealer, limits: RequestLimits, may_be_plain: bool
) -> AsyncIterator[ServedApi]:
    """The API with its page."""

    async def readiness() -> Mapping[str, str | None]:
        return {}

    transport = RecordingTransport()
    app = create_app(
        documents=Documents(make_documents),
        database=database,
        transport=transport,
        sealer=sealer,
        authenticator=TokenAuthenticator(TokenStore(database)),
        readiness=readiness,
        limits=limits,
        page=PageServices(codes=LoginCodes(database), tries=LoginTries(), may_be_plain=may_be_plain),
    )
    async with serve(app, database, transport, BOUNDS) as api:
        yield api


@pytest.fixture
async def page(served: ServedApi) -> AsyncIterator[Page]:
    """A browser, nobody logged in."""
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield Page(served, session)


@pytest.fixture
def token(database: Database) -> str:
    """A token of alice."""
    return TokenStore(database).create_token("alice", Role.ADMIN)


class TestFiles:
    async def test_the_page_and_its_files(self, page: Page) -> None:
        """/ui and each file have the strict policy, the right type and a tag by which they are not sent again."""
        for path, kind in (("/ui", "text/html"), ("/ui/login", "text/html"), ("/ui/main.js", "text/javascript")):
            status, _, headers = await page.ask("GET", path)
            again, _, _ = await page.ask("GET", path, headers={"If-None-Match": headers["ETag"]})

            assert (200, 304) == (status, again)
            assert headers["Content-Type"] == f"{kind}; charset=utf-8"
            assert headers["Content-Security-Policy"] == (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
                " frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
            )
            assert ("nosniff", "no-cache") == (headers["X-Content-Type-Options"], headers["Cache-Control"])

    @pytest.mark.parametrize(
        "name", ["nothing.js", "../api/auth.py", "%2e%2e/api/auth.py", "..%2fapi%2fauth.py", "/etc/passwd"]
    )
    async def test_other_files(self, page: Page, name: str) -> None:
        """Nothing beside the files of the page is served."""
        status, _, _ = await page.ask("GET", f"/ui/{name}")

        assert 404 == status


class TestLogin:
    async def test_token(self, page: Page, token: str) -> None:
        """A token becomes a cookie that scripts cannot read and other sites do not have sent, for eight hours."""
        status, body, headers = await page.log_in(token=token)

        assert (200, "alice", ["admin"]) == (status, body["name"], body["roles"])
        assert LONGEST_S - 60 < body["expires-in-s"] <= LONGEST_S
        cookie = headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert token not in cookie
        assert "no-store" == headers["Cache-Control"]
        status, body, _ = await page.ask("GET", "/v1.0/whoami")
        assert (200, "alice") == (status, body["name"])

    @pytest.mark.parametrize(
        ("way", "status", "text"),
        [
            ({"token": "prst_wrong"}, 401, "Auth token is invalid"),
            ({"code": "wrong"}, 401, "used already, or has ended"),
            ({"username": "bob", "password": "secret-word"}, 400, "There are no users here"),
            ({}, 400, "Body required"),
            ({"token": "x", "code": "y"}, 400, "only one of these ways"),
            ({"username": "bob"}, 400, "only one of these ways"),
            ({"tokens": "x"}, 400, "token"),
        ],
    )
    async def test_refused(self, page: Page, way: Mapping[str, str], status: int, text: str) -> None:
        """A wrong way to log in is refused with what is wrong, and no cookie is set."""
        answered, body, headers = await page.log_in(**way)

        assert status == answered
        assert text in str(body)
        assert "secret-word" not in str(body)
        assert "Set-Cookie" not in headers

    async def test_tries_are_bounded(self, page: Page, token: str) -> None:
        """After ten tries within a minute further ones are refused with the time to wait, right ones too."""
        for _ in range(MOST_TRIES):
            assert 401 == (await page.log_in(token="prst_wrong"))[0]

        status, body, headers = await page.log_in(token=token)

        assert 429 == status
        assert 0 < int(headers["Retry-After"]) <= 60
        assert "Too many tries" in str(body)

    async def test_right_tries_do_not_count(self, page: Page, token: str) -> None:
        """Logins that succeed are not bounded: many people may come from one address."""
        statuses = [(await page.log_in(token=token))[0] for _ in range(2 * MOST_TRIES)]

        assert {200} == set(statuses)

    @pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", None, "file://"])
    async def test_from_elsewhere(self, page: Page, token: str, origin: str | None) -> None:
        """Another page, of another port of this host too, cannot log a browser in."""
        status, _, headers = await page.ask("POST", "/ui/session", json={"token": token}, origin=origin)

        assert 403 == status
        assert "Set-Cookie" not in headers
        assert 403 == (await page.ask("POST", "/ui/session", json={"token": token}, headers={}))[0]

    async def test_plain_http_from_elsewhere(self, page: Page, token: str) -> None:
        """Logging in over plain HTTP under another name than one of this machine is refused with what to do."""
        headers = {**OURS, "Host": "prestager.example"}

        status, body, _ = await page.ask(
            "POST", "/ui/session", json={"token": token}, headers=headers, origin="http://prestager.example"
        )

        assert 403 == status
        assert "PRESTAGER_TLS_CERTIFICATE_FILE" in str(body)

    @pytest.mark.parametrize(
        ("host", "is_taken"),
        [("127.0.0.1:8119", True), ("localhost:8119", True), ("[::1]:8119", True), ("172.18.0.5:8119", False)],
    )
    async def test_a_published_port(self, served: ServedApi, host: str, is_taken: bool) -> None:
        """What counts is that the browser was given a loopback address: a container sees others behind its port."""
        request = make_mocked_request("POST", "/ui/session", headers={"Host": host}, app=served.app)

        with nullcontext() if is_taken else pytest.raises(ApiError, match="plain HTTP"):
            refuse_plain(request.clone(remote="172.18.0.1"))

    async def test_tls_in_front(self, page: Page, token: str) -> None:
        """Where TLS ends in front of the service, the cookie is one for TLS alone, bound to this very host."""
        headers = {**OURS, "Host": "prestager.example"}

        status, _, answered = await page.ask(
            "POST", "/ui/session", json={"token": token}, headers=headers, origin="https://prestager.example"
        )

        assert 200 == status
        cookie = answered["Set-Cookie"]
        assert cookie.startswith("__Host-prestager=")
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie

    @pytest.mark.parametrize("may_be_plain", [True])
    async def test_allowed_all_the_same(self, page: Page, token: str) -> None:
        """PRESTAGER_UI_INSECURE takes logins over plain HTTP from everywhere."""
        headers = {**OURS, "Host": "prestager.example"}

        status, _, _ = await page.ask(
            "POST", "/ui/session", json={"token": token}, headers=headers, origin="http://prestager.example"
        )

        assert 200 == status


class TestSession:
    async def test_it_needs_the_header(self, page: Page, token: str) -> None:
        """The cookie counts only with the header that no other page may send, for reading too."""
        await page.log_in(token=token)

        assert 401 == (await page.ask("GET", "/v1.0/whoami", headers={}))[0]
        assert 401 == (await page.ask("POST", PAUSE, json={"action": "pause"}, headers={}))[0]

    async def test_answers_are_not_kept(self, page: Page, token: str) -> None:
        """What a browser is answered stays in no cache, for whoever uses it after a logout."""
        await page.log_in(token=token)

        for path in ("/v1.0/whoami", "/v1.0/subclouds", "/v1.0/strategies"):
            assert "no-store" == (await page.ask("GET", path))[2]["Cache-Control"]

    async def test_an_ended_session_ends_its_stream(
        self, page: Page, token: str, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stream asks for the token of its session while it goes on, and ends once that is revoked."""
        monkeypatch.setattr(events, "TOKEN_S", 0.05)
        await page.log_in(token=token)
        async with page.session.get(f"{page.url}/v1.0/events", headers=OURS) as stream, asyncio.timeout(PATIENCE_S):
            assert 200 == stream.status
            TokenStore(database).revoke("alice")

            await stream.read()

        assert 401 == (await page.ask("GET", "/v1.0/events"))[0]

    async def test_no_secret_is_logged(
        self, page: Page, token: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither the token, nor the cookie, nor a code is in what is logged, however a login ends."""
        caplog.set_level("DEBUG")
        _, made, _ = await page.ask("POST", "/ui/login-code", headers={"X-Auth-Token": token}, origin=None)
        code = made["path"].partition("#")[2]
        _, _, headers = await page.log_in(token=token)
        cookie = headers["Set-Cookie"].partition("=")[2].partition(";")[0]
        statuses = [(await page.log_in(code=one))[0] for one in (code, code)]
        await page.log_in(username="bob", password="secret-word")

        logged = caplog.text + "".join(capfd.readouterr())

        assert [200, 401] == statuses
        assert [] == [one for one in (token, cookie, code, "secret-word") if one in logged]

    @pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", None])
    async def test_changes_need_our_origin(self, page: Page, token: str, served: ServedApi, origin: str | None) -> None:
        """A change by session comes from our own origin, port included, or reaches nobody."""
        await page.log_in(token=token)

        status, body, _ = await page.ask("POST", PAUSE, json={"action": "pause"}, origin=origin)

        assert 403 == status
        assert "Only the page itself may ask for this" in str(body)
        assert [] == served.transport.commands
        assert 200 == (await page.ask("POST", PAUSE, json={"action": "pause"}))[0]
        assert ["alice"] == [one.requested_by for one in served.transport.commands]

    async def test_a_revoked_token_ends_it(self, page: Page, token: str, database: Database) -> None:
        """The next request after the token was revoked is refused, also when another one has its name."""
        await page.log_in(token=token)
        TokenStore(database).revoke("alice")
        assert 401 == (await page.ask("GET", "/v1.0/whoami"))[0]

        TokenStore(database).create_token("alice", Role.ADMIN)

        assert 401 == (await page.ask("GET", "/v1.0/whoami"))[0]

    async def test_altered_ended_and_foreign_ones(self, page: Page, token: str, sealer: Sealer) -> None:
        """A cookie that was altered, has ended or was sealed elsewhere is none; what any process sealed counts."""
        login = Login(caller=Caller(name="alice", roles=frozenset(), project="admin"), identity="x")
        sealed = PageSession.of_login(login).sealed(sealer)
        port = page.url.rpartition(":")[2]
        past = PageSession(identity="x", expires_at=0.0).sealed(sealer)
        foreign = PageSession.of_login(login).sealed(Sealer(b"z" * 32))

        for value in (past, foreign, sealed[:-4] + "AAAA", "", "nonsense", "%"):
            headers = {**OURS, "Cookie": f"prestager-{port}={value}"}
            status, _, _ = await page.ask("GET", "/v1.0/whoami", headers=headers)
            assert 401 == status, value

    async def test_a_session_ends_with_its_token(self) -> None:
        """A session lasts no longer than the token of Keystone that it stands for."""
        soon = datetime.now(UTC) + timedelta(minutes=5)
        caller = Caller(name="bob (1)", roles=frozenset({"admin"}), project="admin")

        session = PageSession.of_login(Login(caller=caller, identity="x", expires_at=soon))

        assert soon.timestamp() == session.expires_at

    async def test_a_reader_changes_nothing(self, page: Page, served: ServedApi, database: Database) -> None:
        """Roles count for a session as for its token."""
        reader = TokenStore(database).create_token("rita", Role.READER)
        await page.log_in(token=reader)

        assert 403 == (await page.ask("POST", PAUSE, json={"action": "pause"}))[0]
        assert [] == served.transport.commands

    async def test_log_out(self, page: Page, token: str) -> None:
        """Logging out ends the session of the browser; who is logged in is told, without a session nobody."""
        await page.log_in(token=token)
        assert "alice" == (await page.ask("GET", "/ui/session"))[1]["name"]

        assert 403 == (await page.ask("DELETE", "/ui/session", origin="http://evil.example"))[0]
        assert 204 == (await page.ask("DELETE", "/ui/session"))[0]

        _, body, _ = await page.ask("GET", "/ui/session")
        assert {"auth": "token", "name": None, "roles": [], "expires-in-s": None} == body

    async def test_a_token_counts_before_the_session(self, page: Page, token: str) -> None:
        """With a token in the request its session is not looked at, so that scripts need no header of ours."""
        await page.log_in(token=token)

        assert 401 == (await page.ask("GET", "/v1.0/whoami", headers={**OURS, "X-Auth-Token": "prst_x"}))[0]


class TestLoginLink:
    async def make(self, page: Page, token: str) -> str:
        """Make a login link and return its code."""
        status, body, _ = await page.ask("POST", "/ui/login-code", headers={"X-Auth-Token": token}, origin=None)
        assert 200 == status
        path, _, code = body["path"].partition("#")
        assert "/ui/login" == path
        return str(code)

    async def test_it_works_once(self, page: Page, token: str, database: Database) -> None:
        """The code of a link logs in for the token that made it, once; the database has its hash alone."""
        code = await self.make(page, token)
        assert len(code) >= 43
        with database.read() as connection:
            (row,) = connection.execute(login_codes.select()).all()
        assert code not in str(row)

        status, body, _ = await page.log_in(code=code)

        assert (200, "alice") == (status, body["name"])
        assert 401 == (await page.log_in(code=code))[0]

    async def test_it_ends(self, page: Page, token: str, database: Database) -> None:
        """A code does not work after ten minutes, nor after its token was revoked."""
        late, revoked = await self.make(page, token), await self.make(page, token)
        with database.write() as connection:
            past = datetime.now(UTC) - timedelta(seconds=1)
            first = connection.execute(login_codes.select()).all()
            connection.execute(update(login_codes).values(expires_at=past))
        assert 2 == len(first)
        assert 401 == (await page.log_in(code=late))[0]
        with database.write() as connection:
            connection.execute(update(login_codes).values(expires_at=datetime.now(UTC) + timedelta(seconds=60)))
        TokenStore(database).revoke("alice")

        assert 401 == (await page.log_in(code=revoked))[0]

    async def test_a_session_makes_none(self, page: Page, token: str) -> None:
        """A session cannot make a link, which would outlive it."""
        await page.log_in(token=token)

        assert 400 == (await page.ask("POST", "/ui/login-code"))[0]


class TestUsers:
    async def test_an_authenticator_of_tokens_has_no_users(self, database: Database) -> None:
        """An identity is the digest of a token, and no token itself."""
        authenticator = TokenAuthenticator(TokenStore(database))
        assert not authenticator.has_users
        with pytest.raises(InvalidTokenError):
            await authenticator.resume("prst_x")
        authenticator.close()
        account = Credentials(username="bob", password="secret-word", project="admin")
        assert "secret-word" not in repr(account)
