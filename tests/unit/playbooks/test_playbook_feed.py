"""Reading a feed by its own metadata: the chain of checksums holds, and names never climb."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
from pathlib import Path

import pytest
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.feed import own_manifest, read_feed

from demo.feed import build_feeds


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """Return a feed of ten packages."""
    return build_feeds(tmp_path, package_count=10).target_directory


def rewrite_primary(feed: Path, old: str, new: str, *, suffix: str = ".gz") -> None:
    """Change primary.xml and seal it again in repomd.xml, as somebody with a bad tool would."""
    repodata = feed / "repodata"
    packed = next(repodata.glob("*-primary.xml.gz"))
    text = gzip.decompress(packed.read_bytes()).decode()
    assert old in text
    content = text.replace(old, new, 1).encode()
    data = gzip.compress(content) if suffix == ".gz" else lzma.compress(content)
    packed.unlink()
    (repodata / f"primary.xml{suffix}").write_bytes(data)
    repomd = repodata / "repomd.xml"
    words = repomd.read_text().replace(packed.name, f"primary.xml{suffix}")
    head, _, rest = words.partition('<checksum type="sha256">')
    checksum = hashlib.sha256(data).hexdigest()
    repomd.write_text(f'{head}<checksum type="sha256">{checksum}{rest[64:]}')


def test_a_feed_without_metadata_is_no_feed(feed: Path) -> None:
    """A directory without repomd.xml is named."""
    shutil.rmtree(feed / "repodata")

    with pytest.raises(PrestageError, match=f"There is no package feed in {feed}"):
        read_feed(str(feed))


def test_damaged_metadata_is_found(feed: Path) -> None:
    """repomd.xml seals the other metadata."""
    packed = next((feed / "repodata").glob("*.gz"))
    packed.write_bytes(packed.read_bytes() + b"x")

    with pytest.raises(PrestageError, match=r"primary.xml.gz .* is damaged"):
        read_feed(str(feed))


def test_metadata_that_is_gone_is_named(feed: Path) -> None:
    """Every file that repomd.xml names must be there, for sites get it too."""
    next((feed / "repodata").glob("*.gz")).unlink()

    with pytest.raises(PrestageError, match=r"primary.xml.gz is missing"):
        read_feed(str(feed))


@pytest.mark.parametrize(
    ("old", "new", "fragment"),
    [
        ('location href="Packages/', 'location href="../../', "unsafe file name"),
        ('location href="Packages/', 'location href="/', "unsafe file name"),
        ('checksum type="sha256"', 'checksum type="crc32"', "Checksum type 'crc32' is not supported"),
        ('pkgid="YES">', 'pkgid="YES">00', "wrong size or checksum"),
        ("<size package", "<size pakkage", "a package lacks"),
        ("</metadata>", "", "is malformed"),
    ],
)
def test_malformed_primary_is_refused(feed: Path, old: str, new: str, fragment: str) -> None:
    """Even well-sealed metadata is not believed when it makes no sense or its names climb."""
    rewrite_primary(feed, old, new)

    with pytest.raises(PrestageError, match=fragment):
        read_feed(str(feed))


@pytest.mark.parametrize("text", ["<repomd/>", "<repomd><data type='primary'/></repomd>", "<repomd"])
def test_malformed_repomd_is_refused(feed: Path, text: str) -> None:
    """repomd.xml must name primary metadata with a checksum."""
    (feed / "repodata" / "repomd.xml").write_text(text)

    with pytest.raises(PrestageError, match=r"malformed|names no primary"):
        read_feed(str(feed))


def test_other_compressions_are_read(feed: Path) -> None:
    """Metadata packed with xz is as good as with gzip."""
    rewrite_primary(feed, "<name>", "<name>", suffix=".xz")

    assert 10 == len(read_feed(str(feed)).packages)


def test_feeds_with_old_checksums_are_read(feed: Path) -> None:
    """A SHA-1 of an old feed is verified, and SHA-256 is what the manifest says."""
    victim = read_feed(str(feed)).packages[0]
    content = (feed / victim.path).read_bytes()
    old = f'<checksum type="sha256" pkgid="YES">{victim.checksum}<'
    rewrite_primary(
        feed, old, f'<checksum type="sha" pkgid="YES">{hashlib.sha1(content, usedforsecurity=False).hexdigest()}<'
    )

    manifest = own_manifest(read_feed(str(feed)), "23.09")

    assert victim.checksum == manifest.entries[0].sha256
