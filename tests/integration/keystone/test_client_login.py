"""The login of operators' commands at a real Keystone, by the variables of OpenStack's clients."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from client.api_client import ApiClient
from client.completion_names import NameKind, completion_names
from client.contexts import ServerContext, ServerOptions
from client.errors import ClientError, ExitCode
from client.keystone_token import completion_login, keystone_token
from db.database import Database
from tests.integration.keystone.keystone_api import KeystoneApi, serve_with_keystone
from tests.support.keystone_server import KeystoneServer
from tests.support.operator_shell import OperatorShell, ShellCommand
from tests.support.tcp_proxy import free_port
from tests.support.waiting import PATIENCE_S, wait_for


def variables(keystone: KeystoneServer, **changes: str) -> dict[str, str]:
    """Return the environment of an operator who sourced the file of OpenStack's clients; empty texts take away."""
    given = {
        "OS_AUTH_URL": keystone.url,
        "OS_USERNAME": "reader",
        "OS_PASSWORD": keystone.password,
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        **changes,
    }
    return {name: value for name, value in given.items() if value}


def served_url(api: KeystoneApi) -> str:
    """Return the address of the API."""
    return f"http://{api.served.host}:{api.served.port}"


async def history(api: KeystoneApi, home: Path, environment: dict[str, str]) -> ShellCommand:
    """List the strategies with these variables and no token."""
    shell = OperatorShell(home, served_url(api), "")
    del shell.environment["PRESTAGER_TOKEN_FILE"]
    shell.environment |= environment
    return await asyncio.to_thread(shell.strategy, "history", "-o", "json")


async def test_a_command_with_a_login(api: KeystoneApi, keystone: KeystoneServer, tmp_path: Path) -> None:
    """Where there is no token, a command logs in at Keystone by itself and is known by the user's roles."""
    listed = await history(api, tmp_path, variables(keystone))
    stranger = await history(api, tmp_path, variables(keystone, OS_USERNAME="stranger", OS_PROJECT_NAME="demo"))

    assert (listed.code, listed.json) == (ExitCode.DONE, []), listed.err
    assert (stranger.code, stranger.out) == (ExitCode.REFUSED, "")
    assert keystone.password not in listed.err + stranger.err


async def test_a_refused_login(api: KeystoneApi, keystone: KeystoneServer, tmp_path: Path) -> None:
    """A wrong password ends the command with 1 and names what to check; the password is not printed."""
    refused = await history(api, tmp_path, variables(keystone, OS_PASSWORD="wr0ng*"))

    assert (refused.code, refused.out) == (ExitCode.REFUSED, "")
    assert f"Keystone at {keystone.url} refused the login of reader (401): check OS_USERNAME" in refused.err
    assert "wr0ng*" not in refused.err


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"OS_USER_DOMAIN_NAME": "", "OS_PROJECT_DOMAIN_NAME": ""},
        {"OS_PROJECT_NAME": "", "OS_TENANT_NAME": "admin"},
        {"OS_USER_DOMAIN_NAME": "", "OS_USER_DOMAIN_ID": "default"},
        {"OS_PROJECT_DOMAIN_NAME": "", "OS_PROJECT_DOMAIN_ID": "default"},
    ],
)
def test_variables_of_a_login(keystone: KeystoneServer, changes: dict[str, str]) -> None:
    """Domains are given by name or id, and are `Default` where they are not given; an old name of the project does."""
    assert keystone.works(keystone_token(variables(keystone, **changes)))


def test_the_address_without_its_version(keystone: KeystoneServer) -> None:
    """`OS_AUTH_URL` may end with the version, with a slash, or with neither."""
    for url in (keystone.url, keystone.url + "/", keystone.url.removesuffix("/v3")):
        assert keystone.works(keystone_token(variables(keystone, OS_AUTH_URL=url)))


def test_a_login_over_tls(keystone: KeystoneServer) -> None:
    """The authority of Keystone's certificate is that of `OS_CACERT`; another certificate is refused, with code 2."""
    trusting = variables(keystone, OS_AUTH_URL=keystone.secure_url, OS_CACERT=str(keystone.certificate))
    assert keystone.works(keystone_token(trusting))

    with pytest.raises(ClientError, match="is not trusted") as refused:
        keystone_token(variables(keystone, OS_AUTH_URL=keystone.secure_url))

    assert refused.value.exit_code == ExitCode.USAGE
    assert "OS_CACERT" in str(refused.value)


@pytest.mark.parametrize("name", ["OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME"])
def test_a_missing_variable(keystone: KeystoneServer, name: str) -> None:
    """A variable that is missing is named, and Keystone is not asked."""
    asked = len(keystone.seen())

    with pytest.raises(ClientError, match=name) as refused:
        keystone_token(variables(keystone, **{name: ""}))

    assert (refused.value.exit_code, len(keystone.seen())) == (ExitCode.USAGE, asked)


@pytest.mark.parametrize("url", ["keystone", "ftp://127.0.0.1/v3", "http://127.0.0.1:port/v3", "http://"])
def test_an_address_that_is_none(keystone: KeystoneServer, url: str) -> None:
    """An `OS_AUTH_URL` that is no address is refused with code 2."""
    with pytest.raises(ClientError, match="OS_AUTH_URL") as refused:
        keystone_token(variables(keystone, OS_AUTH_URL=url))

    assert refused.value.exit_code == ExitCode.USAGE


def test_a_keystone_that_is_away(keystone: KeystoneServer) -> None:
    """A Keystone that does not answer is another fault than one that refuses: code 6, with its address."""
    url = keystone.url_at(free_port())

    with pytest.raises(ClientError, match="does not answer: Connection refused") as unreachable:
        keystone_token(variables(keystone, OS_AUTH_URL=url))

    assert unreachable.value.exit_code == ExitCode.UNREACHABLE


async def test_a_login_that_expires(keystone: KeystoneServer, database: Database) -> None:
    """A command that outlives its token, as a watch of a night does, logs in again."""
    logins: list[str] = []

    def login() -> str:
        logins.append(keystone_token(variables(keystone)))
        return logins[-1]

    async with serve_with_keystone(keystone, database, cache_s=0.0) as api:
        client = ApiClient(ServerContext(url=served_url(api), token=None), login=login, say=print)
        await asyncio.to_thread(client.read, "strategies")
        keystone.revoke(logins[0])
        wait_for(lambda: not keystone.works(logins[0]))

        found = await asyncio.to_thread(client.read, "strategies")

    assert (found["strategies"], len(logins)) == ([], 2)


def test_a_token_is_kept_for_completion(keystone: KeystoneServer, tmp_path: Path) -> None:
    """Tab takes the token of the command before, of the same login alone; asked again it logs in."""
    given = variables(keystone, XDG_RUNTIME_DIR=str(tmp_path))
    token = keystone_token(given)
    (file,) = (tmp_path / "prestager").iterdir()

    login = completion_login(given)

    assert token == login()
    again = login()
    assert token != again
    assert keystone.works(again)
    assert (0o600, 0o700) == (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777)
    assert keystone.password not in file.read_text()
    assert again == completion_login(given)()
    assert again != completion_login({**given, "OS_PROJECT_NAME": "demo", "OS_USERNAME": "stranger"})()


@pytest.mark.parametrize("spoil", ["expired", "readable", "link", "nonsense", "no folder"])
def test_a_token_that_is_not_to_be_used(keystone: KeystoneServer, tmp_path: Path, spoil: str) -> None:
    """A file that has expired, that others can read, that leads elsewhere or that holds no token is not used."""
    given = variables(keystone, XDG_RUNTIME_DIR=str(tmp_path))
    token = keystone_token(given)
    (file,) = (tmp_path / "prestager").iterdir()
    match spoil:
        case "expired":
            file.write_text(f"2000-01-01T00:00:00.000000Z\n{token}\n")
        case "readable":
            file.chmod(0o640)
        case "link":
            file.rename(tmp_path / "elsewhere")
            file.symlink_to(tmp_path / "elsewhere")
        case "nonsense":
            file.write_text("token")
        case "no folder":
            del given["XDG_RUNTIME_DIR"]

    assert token != completion_login(given)()


async def test_tab_after_a_command(api: KeystoneApi, keystone: KeystoneServer, tmp_path: Path) -> None:
    """Names are completed with the token that a command before has left."""
    given = variables(keystone, XDG_RUNTIME_DIR=str(tmp_path))
    assert (await history(api, tmp_path, given)).code == ExitCode.DONE
    # Which no login would take.
    named = given | {"PRESTAGER_URL": served_url(api), "OS_PASSWORD": "wrong"}

    names = await asyncio.to_thread(completion_names, NameKind.GROUP, "", ServerOptions(), named, limit_s=PATIENCE_S)

    assert ["Default"] == names
