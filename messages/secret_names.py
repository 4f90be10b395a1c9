"""The rule by which a name is that of a secret: one for requests, imports, messages, settings and the log.

Names are compared word by word, without case: `bmc_pwd`, `apiKey` and `ansible_ssh_pass` are names of secrets, `bypass`
and `passthrough` are not. A name that ends in a word such as `file` or `path` describes a secret and holds none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

_WORDS: Final = frozenset(
    {
        *("pass", "pw", "pwd", "pswd", "sshpass", "token", "authorization", "cookie", "community", "sealed"),
        *("cred", "creds", "passcode", "psk", "communities"),
        *(f"{kind}{key}" for kind in ("api", "private", "access") for key in ("key", "keys")),
    }
)
# These are no part of any other word, so they count within one too: `rootpassword`, `clientsecret`.
_STEMS: Final = re.compile(r"passw(?:or)?d(?!less)|passphrase|secret(?!ar(?:y|ies|ial|iat))|credential")
# Kinds of keys that are secrets; other keys, such as a routing key, are not.
_KEYS: Final = frozenset({"api", "private", "access", "encryption", "signing", "shared", "auth"})
_KEY: Final = frozenset({"key", "keys"})
# Last words of a name that describes a secret. `fault` and `name` are our own: `password_fault`, `token_name`.
_DESCRIPTIONS: Final = frozenset({"file", "mechanism", "path", "fault", "name"})
# Words at changes of case and at whatever is neither letter nor digit.
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]")
# One of these is in every name of a secret, in lower case: a look at them is much cheaper than a look at the words.
SIGNS: Final = (
    *("pass", "pw", "pswd", "psk", "token", "authoriz", "cookie", "communit", "sealed", "key", "secret", "cred"),
)

# A name, its closing quote if it has one, and the sign before its value. Possessive, for strangers choose the text.
_FIELD: Final = re.compile(r"""(?<![\w.-])([\w.-]++)\\*+["']?\s*+[:=]\s*+""")
_SCHEME: Final = re.compile(r"(?:bearer|basic)\s+", re.IGNORECASE)
_VALUE: Final = re.compile(r"""\\*+"[^"]*"?|'[^']*'?|[^\s,;&}"']+""")
# Brackets, and texts in quotes, in which brackets do not count.
_OPENING: Final = frozenset("[{(")
_BRACKET: Final = re.compile(r"""[\[{(\]})]|"[^"]*"|'[^']*'""")
_LONGEST_CACHED: Final = 128


def is_secret_name(name: str) -> bool:
    """Return whether a variable, field or option of this name holds a secret."""
    return _cached(name) if len(name) <= _LONGEST_CACHED else _is_secret(name)


def secret_names(value: Any, within: str = "") -> Iterator[str]:
    """Yield the dotted name of each secret in nested mappings and lists, such as `registries.0.password`."""
    for key, item in _items(value):
        place = f"{within}.{key}" if within else str(key)
        if isinstance(value, dict) and is_secret_name(str(key)):
            yield place
        else:
            yield from secret_names(item, place)


def without_secrets(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of nested mappings and lists without the values that have names of secrets."""
    return {key: _without_secrets(item) for key, item in fields.items() if not is_secret_name(str(key))}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return without_secrets(value)
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value


def mask_values(value: Any, mask: str) -> Any:
    """Return nested mappings and lists with `mask` for each value that has the name of a secret and is not empty."""
    if isinstance(value, dict):
        return {
            key: mask if item and is_secret_name(str(key)) else mask_values(item, mask) for key, item in value.items()
        }
    return [mask_values(item, mask) for item in value] if isinstance(value, list) else value


def mask_fields(text: str, mask: str) -> str:
    """Return a text with `mask` for each secret that is written with its name: `password=x`, `"api_key": "x"`.

    Takes time in proportion to the length of the text, whatever is in it.
    """
    pieces: list[str] = []
    done = 0
    for field in _FIELD.finditer(text):
        if field.start() < done or not is_secret_name(field[1]):
            continue
        scheme = _SCHEME.match(text, field.end())
        begin = scheme.end() if scheme else field.end()
        end = _value_end(text, begin)
        if end > begin:
            pieces += (text[done:begin], mask)
            done = end
    return "".join((*pieces, text[done:]))


def _value_end(text: str, begin: int) -> int:
    """Return the end of the value at `begin`, with all that is nested in it; `begin` without a value."""
    if text[begin : begin + 1] not in _OPENING:
        value = _VALUE.match(text, begin)
        return begin if value is None else value.end()
    depth = 0
    for part in _BRACKET.finditer(text, begin):
        if part[0] in _OPENING:
            depth += 1
        elif len(part[0]) == 1:
            depth -= 1
        if depth == 0:
            return part.end()
    # Cut short: all of the rest may belong to it.
    return len(text)


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _is_secret(name: str) -> bool:
    words = [word.casefold() for word in _WORD.findall(name)]
    if not words or words[-1] in _DESCRIPTIONS:
        return False
    if not _WORDS.isdisjoint(words) or any(_STEMS.search(word) for word in words):
        return True
    return any(second in _KEY and first in _KEYS for first, second in pairwise(words))


_cached = lru_cache(maxsize=1024)(_is_secret)
