"""Read SSH host keys as operators have them: public key files, lines of `known_hosts`, output of `ssh-keyscan`."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from messages.errors import HostKeyError

# More keys than any server has; the longest RSA key in use (16384 bits) takes 2,800 characters.
_MOST_KEYS: Final = 16
_LONGEST_LINE: Final = 8192
_PRIVATE: Final = "PRIVATE KEY-----"
# Signatures that a client asks for, by the type of the key; SHA-1, which goes by the type's own name, is not among
# those of RSA.
_RSA: Final = "ssh-rsa"
_RSA_SIGNATURES: Final = ("rsa-sha2-512", "rsa-sha2-256")
_TYPES: Final = frozenset(
    {
        _RSA,
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)


@dataclass(frozen=True)
class HostKey:
    """A public host key of an SSH server.

    Attributes:
        type: Such as ssh-ed25519.

        content: The key in base64.
    """

    type: str
    content: str

    @property
    def line(self) -> str:
        """Return `<type> <base64>`, as `known_hosts` has it after the name of the host."""
        return f"{self.type} {self.content}"

    @property
    def fingerprint(self) -> str:
        """Return what `ssh-keygen -l` shows: `SHA256:` and the digest of the key."""
        digest = b64encode(sha256(b64decode(self.content)).digest()).decode().rstrip("=")
        return f"SHA256:{digest}"

    @property
    def description(self) -> str:
        """Return the fingerprint and the type, for people."""
        return f"{self.fingerprint} ({self.type})"


def parse_host_keys(text: str) -> tuple[HostKey, ...]:
    """Return the keys in a text, one a line, each once; comments and empty lines are passed over.

    A line is `<type> <base64>`, with or without a host in front of it and a comment behind it.

    Raises:
        HostKeyError: A line is no host key, or there is none, or more than 16.
    """
    if _PRIVATE in text:
        raise HostKeyError("it is a private key; give the public one, whose file ends in .pub")
    lines = [line.strip() for line in text.splitlines()]
    keys = dict.fromkeys(_parse_line(line) for line in lines if line and not line.startswith("#"))
    if not keys:
        raise HostKeyError("there is no host key; give lines such as: ssh-ed25519 AAAAC3Nza...")
    if len(keys) > _MOST_KEYS:
        raise HostKeyError(f"there are more than {_MOST_KEYS} host keys")
    return tuple(keys)


def stored_host_keys(text: str | None) -> tuple[HostKey, ...]:
    """Return the keys of a column that holds one `<type> <base64>` a line; None has none."""
    return tuple(HostKey(*line.split(" ", 1)) for line in (text or "").splitlines())


def host_key_lines(keys: Sequence[HostKey]) -> str:
    """Return the text that `stored_host_keys` reads."""
    return "\n".join(key.line for key in keys)


def signature_algorithms(keys: Sequence[HostKey]) -> list[str]:
    """Return the algorithms with which a server proves that it has one of the keys, each once."""
    found = (_RSA_SIGNATURES if key.type == _RSA else (key.type,) for key in keys)
    return list(dict.fromkeys(algorithm for algorithms in found for algorithm in algorithms))


def _parse_line(line: str) -> HostKey:
    if len(line) > _LONGEST_LINE:
        raise HostKeyError(f"a line is longer than {_LONGEST_LINE} characters")
    words = line.split()
    if words[0].startswith("@"):
        raise HostKeyError(f"{words[0][:32]} marks no host key; give the keys of the site itself")
    # With the name of a host in front of it, or without.
    place = next((place for place, word in enumerate(words[:2]) if word in _TYPES), None)
    if place is None or place + 1 >= len(words):
        raise HostKeyError("a line is no public host key; give lines such as: ssh-ed25519 AAAAC3Nza...")
    key = HostKey(words[place], words[place + 1])
    # Stored keys are shown without it.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key  # noqa: PLC0415

    try:
        load_ssh_public_key(key.line.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise HostKeyError(f"the key after {key.type} is not one of that type, or not whole") from None
    return key
