"""The API that a command talks to, and the token for it: from options, the environment and the operator's own file.

The file is `~/.config/prestager/client.toml`, for its owner alone:

    current = "north"

    [contexts.north]
    url = "https://prestager.example:8119"
    token_file = "/home/alice/.prestager-token"
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from client.errors import SurroundingsError

SERVER_VARIABLE: Final = "PRESTAGER_URL"
TOKEN_FILE_VARIABLE: Final = "PRESTAGER_TOKEN_FILE"  # noqa: S105 - a name
CONTEXT_VARIABLE: Final = "PRESTAGER_CONTEXT"
CONNECT_VARIABLE: Final = "PRESTAGER_CONNECT_S"

# Settings that say where the installation of this machine is.
OF_INSTALLATION: Final = ("PRESTAGER_CONFIG", "PRESTAGER_DATA_DIR", "PRESTAGER_DATABASE_URL")
_DEFAULT_URL: Final = "http://127.0.0.1:8119"
_CONNECT_S: Final = 5.0
# A day.
_MOST_CONNECT_S: Final = 86_400.0
_VERSION: Final = "/v1.0"
_KEYS: Final = frozenset({"url", "token", "token_file", "ca_file"})
_TOKEN_FORM: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_NAME_FORM: Final = re.compile(r"[A-Za-z0-9_-]+")
_OTHERS: Final = 0o077
_OWNER_ONLY: Final = 0o600


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Options of a command that name the API; None where one is not given."""

    server: str | None = None
    context: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ServerContext:
    """An API as a command uses it.

    Attributes:
        url: Its address, without a path for the version and without a slash at the end.

        token: Sent with each request; None: Keystone is asked for one.

        ca_file: Authorities that sign its certificate; None: those of the system.

        connect_s: A change that no service takes is tried again for so many seconds.
    """

    url: str
    token: str | None = field(repr=False)
    ca_file: Path | None = None
    connect_s: float = _CONNECT_S


def config_file(environment: Mapping[str, str]) -> Path:
    """Return the place of the operator's file, which may not exist."""
    base = environment.get("XDG_CONFIG_HOME")
    home = Path(environment["HOME"]) if "HOME" in environment else Path.home()
    return (Path(base) if base else home / ".config") / "prestager" / "client.toml"


def choose_context(options: ServerOptions, environment: Mapping[str, str]) -> ServerContext:
    """Return the API that options, environment and file name, in this order.

    A context's token goes to the context's own address alone: `--server` with another address needs a token of its own.

    Raises:
        SurroundingsError: A file cannot be used, there is no such context, or there is nothing to log in with.
    """
    file = config_file(environment)
    entry = _entry(options, environment, file)
    wanted = options.server or environment.get(SERVER_VARIABLE)
    url = _address(wanted or entry.get("url") or _DEFAULT_URL)
    token_file = options.token_file or environment.get(TOKEN_FILE_VARIABLE)
    is_of_context = "url" in entry and _address(entry["url"]) == url
    ca_file = options.ca_file or (entry.get("ca_file") if is_of_context else None)
    if token_file:
        token = _read_token(Path(token_file))
    elif is_of_context and "token" in entry:
        token = _checked_token(entry["token"], str(file))
    elif is_of_context and "token_file" in entry:
        token = _read_token(Path(entry["token_file"]).expanduser())
    elif environment.get("OS_AUTH_URL"):
        token = None
    else:
        raise SurroundingsError(
            f"There is no token for {url}: give --token-file or set {TOKEN_FILE_VARIABLE}. An administrator makes one"
            " on the controller with: prestager token create NAME --role ROLE"
        )
    return ServerContext(
        url=url,
        token=token,
        ca_file=Path(ca_file).expanduser() if ca_file else None,
        connect_s=_connect_s(environment),
    )


def names_an_api(options: ServerOptions, environment: Mapping[str, str]) -> bool:
    """Return whether a command that works on the API and on the installation here alike is meant for an API.

    Options and variables of an API say so, then settings of an installation that it is not, then a context or Keystone.

    Raises:
        SurroundingsError: The operator's file has a fault.
    """
    if options.server or options.context or options.token_file:
        return True
    if any(environment.get(name) for name in (SERVER_VARIABLE, TOKEN_FILE_VARIABLE, CONTEXT_VARIABLE)):
        return True
    if any(environment.get(name) for name in OF_INSTALLATION):
        return False
    return bool(environment.get("OS_AUTH_URL")) or bool(_read_file(config_file(environment)).get("contexts"))


def context_names(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the contexts of the operator's file.

    Raises:
        SurroundingsError: The file has a fault.
    """
    return list(_read_file(config_file(environment)).get("contexts", {}))


def _entry(options: ServerOptions, environment: Mapping[str, str], file: Path) -> Mapping[str, str]:
    """Return the context that is meant; an empty one: none is."""
    content = _read_file(file)
    contexts = content.get("contexts", {})
    name = options.context or environment.get(CONTEXT_VARIABLE)
    server = options.server or environment.get(SERVER_VARIABLE)
    if name is None and server is not None:
        return next((entry for entry in contexts.values() if _address(entry["url"]) == _address(server)), {})
    name = name or content.get("current") or (next(iter(contexts)) if len(contexts) == 1 else None)
    if name is None:
        if contexts:
            raise SurroundingsError(f"{file} has several contexts: name one with --context: {_listed(contexts)}.")
        return {}
    if name not in contexts:
        raise SurroundingsError(f"There is no context '{name}' in {file}; there are: {_listed(contexts)}.")
    found: Mapping[str, str] = contexts[name]
    return found


def _connect_s(environment: Mapping[str, str]) -> float:
    text = environment.get(CONNECT_VARIABLE) or str(_CONNECT_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= _MOST_CONNECT_S:
        raise SurroundingsError(f"{CONNECT_VARIABLE} is '{text}'; it is a number of seconds from 0 to 86400.")
    return seconds


def _listed(contexts: Mapping[str, Any]) -> str:
    return ", ".join(sorted(contexts)) or "none"


def _read_file(file: Path) -> dict[str, Any]:
    """Return what the operator's file holds, validated; a missing file is an empty one."""
    try:
        with file.open("rb") as source:
            if os.fstat(source.fileno()).st_mode & _OTHERS:
                raise SurroundingsError(f"{file} may hold tokens and others can read it. Run: chmod 600 {file}")
            content = tomllib.load(source)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SurroundingsError(f"{file} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SurroundingsError(f"{file} is not TOML: {error}. Correct it.") from None
    fault = _fault(content)
    if fault is not None:
        raise SurroundingsError(f"{file}: {fault}.")
    return content


def _fault(content: Mapping[str, Any]) -> str | None:
    """Return the first thing that is wrong in the operator's file."""
    unknown = sorted(content.keys() - {"current", "contexts"})
    if unknown:
        return f"there is no key '{unknown[0]}', only current and contexts"
    contexts = content.get("contexts", {})
    if not isinstance(contexts, dict) or not isinstance(content.get("current", ""), str):
        return "current must be a text, and contexts a table"
    for name, entry in contexts.items():
        if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
            return f"the context {name} must be a table of texts"
        if unknown := sorted(entry.keys() - _KEYS):
            return f"the context {name} has an unknown key '{unknown[0]}'; there are {', '.join(sorted(_KEYS))}"
        if "url" not in entry:
            return f"the context {name} has no url"
    return None


def _address(text: str) -> str:
    """Return an address without the version and the slash at its end."""
    parts = urlsplit(text)
    try:
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment or "@" in parts.netloc:
        raise SurroundingsError(
            f"'{text}' is not the address of an API; it has the form https://host:8119, without user, query or #."
        )
    return text.rstrip("/").removesuffix(_VERSION)


def _read_token(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SurroundingsError(f"The token cannot be read from {file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        text = ""
    return _checked_token(text, str(file))


def _checked_token(text: str, place: str) -> str:
    # Before a header is made of it: the error of the library would hold it.
    token = text.strip()
    if not _TOKEN_FORM.fullmatch(token):
        raise SurroundingsError(f"{place} holds no token: it is one line without spaces.")
    return token


def add_context(name: str, url: str, token: str, environment: Mapping[str, str]) -> Path:
    """Add a context to the operator's file, which is made if it does not exist, and return the file.

    Raises:
        SurroundingsError: The name cannot be one, there is such a context already, or the file cannot be written.
    """
    check_new_context(name, environment)
    file = config_file(environment)
    _append(file, _present_text(file), f'[contexts.{name}]\nurl = "{url}"\ntoken = "{token}"\n')
    return file


def put_context(name: str, url: str, token_file: Path, environment: Mapping[str, str]) -> Path:
    """Add a context whose token is in a file, in place of one of this name with the same token file; return the file.

    Raises:
        SurroundingsError: The name cannot be one, another context has it, or the operator's file cannot be written.
    """
    file = config_file(environment)
    entry = _read_file(file).get("contexts", {}).get(name, {})
    present = _present_text(file)
    # As this function wrote it; what an operator has changed stays.
    written = f'[contexts.{name}]\nurl = "{entry.get("url")}"\ntoken_file = "{token_file}"\n'
    if written in present:
        present = present.replace(written, "").rstrip("\n")
        present += "\n" if present else ""
    else:
        check_new_context(name, environment)
    _append(file, present, f'[contexts.{name}]\nurl = "{url}"\ntoken_file = "{token_file}"\n')
    return file


def _present_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        raise SurroundingsError(f"{file} cannot be read.") from None


def _append(file: Path, present: str, added: str) -> None:
    """Write the operator's file anew, with an entry behind what is there; it is replaced at once, or not at all."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _OWNER_ONLY)
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            target.write(f"{present}\n{added}" if present else added)
        draft.replace(file)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise SurroundingsError(f"{file} cannot be written: {error.strerror}.") from None


def check_new_context(name: str, environment: Mapping[str, str]) -> None:
    """Refuse a name that a new context cannot have.

    Raises:
        SurroundingsError: It has other characters than letters, digits, - and _, or there is such a context already.
    """
    if not _NAME_FORM.fullmatch(name):
        raise SurroundingsError(f"A context cannot be named '{name}': only letters, digits, - and _ are allowed.")
    file = config_file(environment)
    if name in _read_file(file).get("contexts", {}):
        raise SurroundingsError(f"{file} has a context '{name}' already; remove it there, or give another name.")
