"""The file of the secret keys."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from db.encryption import key_id
from service.errors import StartError
from service.key_file import KeyFile, load_sealer, make_key_file, parse_keys, write_keys
from service.settings import Settings
from tests.support import unprivileged

A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))
IDS = tuple(map(key_id, (A, B, C)))


def line(key: bytes) -> str:
    return b64encode(key).decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a file with one key, without a line break as older programs made it."""
    path = tmp_path / "keys" / "secret.key"
    path.parent.mkdir(mode=0o755)
    path.write_text(line(A))
    path.chmod(0o640)
    return path


def test_one_key_a_line() -> None:
    """Keys come in the order of the lines; blank lines, spaces and repetitions do not count."""
    assert (B, A) == parse_keys(f"\n {line(B)}\r\n\n{line(A)}\n{line(B)}\n", "x")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "x holds no secret key"),
        (" \n\n", "x holds no secret key"),
        ("secret\n", "^x must hold 32 bytes in base64"),
        (f"{line(A)}\n{line(B)[:-4]}\n", "^Line 2 of x must hold 32 bytes in base64"),
        (f"{line(A)}{line(B)}", "must hold 32 bytes"),
        ("\n".join(line(bytes([number]) * 32) for number in range(17)), "holds 17 secret keys, more than 16"),
    ],
)
def test_what_is_no_key(text: str, sentence: str) -> None:
    """What is no key is told with its line; the text itself is not repeated."""
    with pytest.raises(StartError, match=sentence) as raised:
        parse_keys(text, "x")

    assert not [word for word in text.split() if word in str(raised.value)]


def test_a_changed_file_is_read_again(path: Path) -> None:
    """Changes count from the next use on, whether the file is written anew, appended to or replaced."""
    sealer = load_sealer(Settings(secret_key_file=path))
    seen = [sealer.key_ids]
    path.write_text(f"{line(A)}\n{line(B)}\n")
    seen.append(sealer.key_ids)
    with path.open("a") as file:
        file.write(line(C))
    seen.append(sealer.key_ids)
    write_keys(path, [C, A])
    seen.append(sealer.key_ids)

    assert [IDS[:1], IDS[:2], IDS, (IDS[2], IDS[0])] == seen


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_text("broken"), lambda path: path.write_text("")]
)
def test_a_broken_file_leaves_the_keys_in_force(path: Path, damage) -> None:
    """A file that is gone or holds no keys is told once, keys of before go on, and a good file counts again."""
    sealer = load_sealer(Settings(secret_key_file=path))
    with capture_logs() as lines:
        damage(path)
        kept = [sealer.key_ids for _ in range(3)]
        path.write_text(line(B))
        after = sealer.key_ids

    assert [IDS[:1]] * 3 == kept
    assert IDS[1:2] == after
    assert ["secret-key.not-read", "secret-key.read-again"] == [one["event"] for one in lines]
    assert line(B) not in str(lines)


@pytest.mark.parametrize("content", ["\ufeff{a}\n{b}\n", "{a}\r\n{b}\r\n", "\n\n  {a}\n\t{b}", "{a}\n{b}\n{a}\n\n"])
def test_what_editors_leave(path: Path, content: str) -> None:
    """Byte order marks, other line breaks, blank lines and spaces do not make a key another one."""
    path.write_text(content.format(a=line(A), b=line(B)))

    assert (A, B) == KeyFile(path).read()


def test_written_keys_keep_mode_and_owner(path: Path) -> None:
    """A file that is rewritten keeps its mode and leaves nothing beside it; a link stays a link."""
    link = path.with_name("link")
    link.symlink_to(path.name)
    before = path.stat()

    write_keys(link, [B, A])

    after = path.stat()
    assert (0o640, before.st_uid, before.st_gid) == (after.st_mode & 0o777, after.st_uid, after.st_gid)
    assert f"{line(B)}\n{line(A)}\n" == path.read_text()
    assert link.is_symlink()
    assert {"link", "secret.key"} == {one.name for one in path.parent.iterdir()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could be led elsewhere")
@pytest.mark.parametrize("owner", ["another user", "everybody"])
def test_root_writes_no_keys_where_another_user_may_write(path: Path, owner: str) -> None:
    """Root refuses a directory of another user, who could lead it to any file by links; nothing is changed."""
    before = path.read_text()
    if owner == "everybody":
        path.parent.chmod(0o777)
    else:
        os.chown(path.parent, unprivileged.uid(), unprivileged.gid())
    link = path.parent.parent / "link"
    link.symlink_to(path)

    for way in (path, link):
        with pytest.raises(PermissionError, match="another user may write to"):
            write_keys(way, [B, A])
    assert before == path.read_text()
    assert ["secret.key"] == [one.name for one in path.parent.iterdir()]


def test_a_new_file_is_private_and_ends_with_a_line_break(tmp_path: Path) -> None:
    """The file that the first start makes is for its owner alone, takes further lines, and is made once."""
    path = tmp_path / "data" / "secret.key"
    make_key_file(path)
    first = path.read_text()
    make_key_file(path)

    assert first == path.read_text()
    assert first.endswith("\n")
    assert 0o600 == path.stat().st_mode & 0o777
    assert 1 == len(KeyFile(path).read())


def test_keys_of_the_environment() -> None:
    """PRESTAGER_SECRET_KEY takes several keys with commas or spaces between them."""
    sealer = load_sealer(Settings(secret_key=f"{line(B)}, {line(A)} {line(C)}"))

    assert (IDS[1], IDS[0], IDS[2]) == sealer.key_ids


def test_an_unchanged_file_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the file is the same, asking costs one look at its status."""
    file = KeyFile(path)
    file.read()
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("read again"))

    assert file.changed() is None
