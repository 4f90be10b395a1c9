"""Texts that operators give as host keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from messages.errors import HostKeyError
from messages.host_keys import host_key_lines, parse_host_keys, signature_algorithms, stored_host_keys

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJu0YTJvPpgCLGzVQ1hSqtBMgOJVc1VRkTvAyYV4Ff1j"
OF_ANOTHER_TYPE = ED25519.replace("ssh-ed25519 ", "ecdsa-sha2-nistp256 ", 1)


def made(directory: Path, kind: str) -> tuple[str, str]:
    """Return a public key file's content and the fingerprint that ssh-keygen shows of it."""
    file = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "root@edge 1", "-f", file], check=True)
    public = file.with_suffix(".pub")
    shown = subprocess.run(["ssh-keygen", "-l", "-f", public], check=True, capture_output=True, text=True)
    return public.read_text(), shown.stdout.split()[1]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("front", ["", "edge-1,10.0.0.1 ", "[10.0.0.1]:2222 ", "|1|F1E=|dX0= "])
def test_keys_as_programs_write_them(tmp_path: Path, kind: str, front: str) -> None:
    """A public key file, a line of known_hosts and of ssh-keyscan are read; the fingerprint is that of ssh-keygen."""
    line, fingerprint = made(tmp_path, kind)
    (key,) = parse_host_keys(f"# 10.0.0.1:22 SSH-2.0-OpenSSH_9.2\n\n{front}{line}\r\n")

    assert (" ".join(line.split()[:2]), fingerprint) == (key.line, key.fingerprint)


def test_several_keys_once_each() -> None:
    """A repeated key counts once; what is stored is read again."""
    keys = parse_host_keys(f"{ED25519}\nedge-1 {ED25519} comment\n")

    assert (1, keys) == (len(keys), stored_host_keys(host_key_lines(keys)))
    assert () == stored_host_keys(None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no host key"),
        ("# nothing\n", "there is no host key"),
        ("edge-1", "no public host key"),
        ("ssh-ed25519", "no public host key"),
        ("ssh-dss AAAA", "no public host key"),
        ("a b ssh-ed25519 AAAA", "no public host key"),
        ("ssh-ed25519 AAAA", "not one of that type"),
        (ED25519[:-8], "not one of that type"),
        (OF_ANOTHER_TYPE, "not one of that type"),
        (f"@cert-authority * {ED25519}", "@cert-authority"),
        (f"@revoked edge-1 {ED25519}", "@revoked"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", "private key"),
        ("x" * 9000, "longer"),
        ("-oProxyCommand=x", "no public host key"),
    ],
)
def test_what_is_no_host_key(text: str, words: str) -> None:
    """Anything else is refused with a sentence that repeats nothing of it but a marker."""
    with pytest.raises(HostKeyError, match=words):
        parse_host_keys(text)


def test_at_most_sixteen_keys(tmp_path: Path) -> None:
    """More keys than any server has are a file that was given by mistake."""
    lines = []
    for number in range(17):
        (tmp_path / str(number)).mkdir()
        lines.append(made(tmp_path / str(number), "ed25519")[0])

    assert 16 == len(parse_host_keys("".join(lines[:16])))
    with pytest.raises(HostKeyError, match="more than 16"):
        parse_host_keys("".join(lines))


def test_servers_are_asked_for_recorded_types_only(tmp_path: Path) -> None:
    """RSA keys are asked for by their signatures, without SHA-1; other types by their own names."""
    line, _ = made(tmp_path, "rsa")

    assert ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"] == signature_algorithms(
        parse_host_keys(ED25519 + "\n" + line)
    )
