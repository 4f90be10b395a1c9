"""The API and the token that a command uses: options, environment, the operator's file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from client.contexts import ServerContext, ServerOptions, add_context, choose_context, put_context
from client.errors import SurroundingsError
from service.load_settings import unknown_variables

TWO = """
current = "north"
[contexts.north]
url = "https://north:8119/v1.0"
token = "north-token"
ca_file = "/north.pem"
[contexts.south]
url = "http://south:8119/"
token = "south-token"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory; `write` puts the operator's file there."""
    return tmp_path


def write(home: Path, text: str, mode: int = 0o600) -> Path:
    """Write the operator's file."""
    file = home / ".config" / "prestager" / "client.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def chosen(home: Path, options: ServerOptions | None = None, **environment: str) -> ServerContext:
    """Choose for an operator with this home directory."""
    return choose_context(options or ServerOptions(), {"HOME": str(home), **environment})


def test_the_current_context(home: Path) -> None:
    """Without options and variables the context counts that the file names as current."""
    write(home, TWO)

    assert chosen(home) == ServerContext(url="https://north:8119", token="north-token", ca_file=Path("/north.pem"))


def test_patience_without_a_connection(home: Path) -> None:
    """A change waits 5 s for an API to which no connection is made, or as long as PRESTAGER_CONNECT_S says."""
    given = {"PRESTAGER_URL": "http://127.0.0.1:1", "PRESTAGER_TOKEN_FILE": str(home / "token")}
    (home / "token").write_text("t")

    assert 5.0 == chosen(home, **given).connect_s
    assert 60.0 == chosen(home, PRESTAGER_CONNECT_S="60", **given).connect_s
    for text in ("soon", "-1", "nan", "1e9"):
        with pytest.raises(SurroundingsError, match="a number of seconds from 0 to 86400"):
            chosen(home, PRESTAGER_CONNECT_S=text, **given)
    assert [] == unknown_variables({"PRESTAGER_CONNECT_S": "60"})


def test_a_named_context(home: Path) -> None:
    """`--context` counts before PRESTAGER_CONTEXT, and that before the current one."""
    write(home, TWO)

    assert chosen(home, PRESTAGER_CONTEXT="south").token == "south-token"
    assert chosen(home, ServerOptions(context="north"), PRESTAGER_CONTEXT="south").token == "north-token"


def test_the_only_context(home: Path) -> None:
    """A file with one context needs no current one; with several one must be named."""
    text = TWO.replace('current = "north"', "")
    write(home, text)
    with pytest.raises(SurroundingsError, match="north, south"):
        chosen(home)
    write(home, text.partition("[contexts.south]")[0])

    assert chosen(home).url == "https://north:8119"


def test_a_token_goes_to_its_own_address_alone(home: Path) -> None:
    """The token of a context is not sent to another address, whichever way that is named."""
    write(home, TWO)

    for name in ("north", None):
        with pytest.raises(SurroundingsError, match="There is no token for https://nort:8119"):
            chosen(home, ServerOptions(context=name, server="https://nort:8119"))
    assert chosen(home, PRESTAGER_URL="http://south:8119").token == "south-token"


def test_the_scheme_belongs_to_the_address(home: Path) -> None:
    """A token for https is not sent over http."""
    write(home, TWO)

    with pytest.raises(SurroundingsError):
        chosen(home, ServerOptions(server="http://north:8119"))


def test_a_token_file(home: Path) -> None:
    """`--token-file` counts before PRESTAGER_TOKEN_FILE, and that before the token of a context."""
    write(home, TWO)
    files = {name: home / name for name in ("option", "variable")}
    for name, file in files.items():
        file.write_text(f"{name}-token\n")
    variable = {"PRESTAGER_TOKEN_FILE": str(files["variable"])}

    assert chosen(home, **variable).token == "variable-token"
    assert chosen(home, ServerOptions(token_file=files["option"]), **variable).token == "option-token"


def test_without_a_file(home: Path) -> None:
    """Without anything the API of this machine is meant; without a token, or Keystone's address, nothing is sent."""
    assert chosen(home, OS_AUTH_URL="http://keystone/v3") == ServerContext(url="http://127.0.0.1:8119", token=None)
    with pytest.raises(SurroundingsError, match="prestager token create"):
        chosen(home)


@pytest.mark.parametrize("content", ["", "two words", "a\nb", "ü", "x" * 5000])
def test_what_is_no_token(home: Path, content: str) -> None:
    """A file that holds no token is refused without a word of its content."""
    file = home / "token"
    file.write_text(content)

    with pytest.raises(SurroundingsError, match="holds no token") as refused:
        chosen(home, PRESTAGER_TOKEN_FILE=str(file))
    assert not content or content not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_file_that_others_can_read(home: Path, mode: int) -> None:
    """The operator's file is refused, with the remedy, when its group or others have any right to it."""
    file = write(home, TWO, mode)

    with pytest.raises(SurroundingsError, match=f"chmod 600 {file}"):
        chosen(home)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[contexts", "is not TOML"),
        ("contests = 1", "no key 'contests'"),
        ("contexts = 1", "contexts a table"),
        ("contexts.a = 1", "the context a must be a table"),
        ("contexts.a.url = 1", "the context a must be a table of texts"),
        ("contexts.a.uri = 'x'", "unknown key 'uri'"),
        ("contexts.a.token = 'x'", "the context a has no url"),
        ("contexts.a.url = 'north'", "'north' is not the address"),
    ],
)
def test_faults_of_the_file(home: Path, text: str, fault: str) -> None:
    """What is wrong in the operator's file is named."""
    write(home, text)

    with pytest.raises(SurroundingsError, match=fault):
        chosen(home)


@pytest.mark.parametrize(
    "server", ["north", "ftp://north", "http://", "http://u:p@north", "http://north?x", "http://north:x"]
)
def test_what_is_no_address(home: Path, server: str) -> None:
    """An address has a scheme and a host, and neither user nor query."""
    with pytest.raises(SurroundingsError, match="is not the address of an API"):
        chosen(home, ServerOptions(server=server), OS_AUTH_URL="http://keystone")


def test_an_unknown_context(home: Path) -> None:
    """A context that is not in the file is refused with those that are."""
    write(home, TWO)

    with pytest.raises(SurroundingsError, match=r"no context 'west' .* north, south"):
        chosen(home, ServerOptions(context="west"))


def test_added_contexts(home: Path) -> None:
    """A context is added to a file for its owner alone; what was there stays, and no name is taken twice."""
    environment = {"HOME": str(home)}

    file = add_context("alice", "http://127.0.0.1:8119", "s3cret", environment)
    file.write_text("# mine\n" + file.read_text())
    add_context("bob", "http://127.0.0.2:8119", "other", environment)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("# mine\n")
    assert chosen(home, ServerOptions(context="alice")).token == "s3cret"
    assert chosen(home, ServerOptions(server="http://127.0.0.2:8119")).token == "other"
    for name, fault in (("alice", "has a context 'alice' already"), ("a.b", "cannot be named")):
        with pytest.raises(SurroundingsError, match=fault):
            add_context(name, "http://127.0.0.1:8119", "x", environment)
    assert [file] == list(file.parent.iterdir())


def test_no_setting_of_the_service() -> None:
    """The service does not warn of variables of the client."""
    names = ("PRESTAGER_URL", "PRESTAGER_TOKEN_FILE", "PRESTAGER_CONTEXT")

    assert unknown_variables(dict.fromkeys(names, "x")) == []


def test_a_token_is_not_shown() -> None:
    """The text of a context, as a traceback shows it, has no token."""
    assert "s3cret" not in repr(ServerContext(url="http://a", token="s3cret"))


def test_a_context_in_place_of_the_one_before(home: Path) -> None:
    """A context with a token file takes the place of the one that was put before, wherever other contexts stand."""
    token_file = home / "token"
    token_file.write_text("demo-token")
    put_context("demo", "http://127.0.0.1:1", token_file, {"HOME": str(home)})
    assert chosen(home) == ServerContext(url="http://127.0.0.1:1", token="demo-token", ca_file=None)
    add_context("north", "http://north:8119", "north-token", {"HOME": str(home)})

    file = put_context("demo", "http://127.0.0.1:2", token_file, {"HOME": str(home)})

    assert "http://127.0.0.1:2" == chosen(home, ServerOptions(context="demo")).url
    assert "north-token" == chosen(home, ServerOptions(context="north")).token
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_a_context_of_somebody_else_stays(home: Path) -> None:
    """A context of the same name with another token is not replaced."""
    text = '[contexts.demo]\nurl = "http://north:8119"\ntoken = "mine"\n'
    file = write(home, text)

    with pytest.raises(SurroundingsError, match="has a context 'demo' already"):
        put_context("demo", "http://127.0.0.1:1", home / "token", {"HOME": str(home)})

    assert text == file.read_text()
