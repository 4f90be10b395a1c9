"""
Brings the images of a release together on a site, in one archive that is itself an OCI image layout.

Blobs are collected by digest in a work directory, from the registry, the site's layouts, an earlier archive, or what
the controller sent; a broken run finds them there again. The archive has the same bytes for the same images.
"""

import hashlib
import io
import os
import shutil
import tarfile
from typing import Any, Dict, List, Tuple

from .archive import HashingReader, add_file, unpack
from .checksums import DamagedError, checksum_of_file, copy_verified, is_intact, write_verified
from .documents import read_document, remove_file, sync_directory, utc, write_document
from .errors import PrestageError
from .files import create, is_regular, require_no_link
from .image_manifest import Blob
from .image_sources import Container, Source
from .oci_layout import BLOBS, INDEX_FILE, LAYOUT_CONTENT, LAYOUT_FILE, Image, Layout, index_json, wrapper
from .space import OR_LOWER, readable, require_space

ARCHIVE = "prestage_images.tar"
MARKER = "prestage_images_complete.json"
WORK = ".prestage-images"


class ImageStaging:
    """The image archive of one release on a site."""

    def __init__(self, directory: str) -> None:
        """Take the release's directory below the backup directory; nothing is touched yet."""
        self._directory = directory
        self._archive = os.path.join(directory, ARCHIVE)
        self._marker = os.path.join(directory, MARKER)
        self._work = os.path.join(directory, WORK)

    def complete_marker(self, sources: List[Source]) -> Dict[str, Any]:
        """Return the marker if it is for this list and the archive still has its checksum, else an empty mapping."""
        require_no_link(self._directory)
        require_no_link(self._work)
        marker = read_document(self._marker)
        if marker is None or marker.get("list_sha256") != list_digest(sources):
            return {}
        if not is_regular(self._archive) or checksum_of_file(self._archive) != marker.get("archive_sha256"):
            # It says what is no longer true, and this run may fail before it is replaced.
            remove_file(self._marker)
            return {}
        return marker

    def begin(self, images: List[Image]) -> None:
        """Take over what an earlier archive has; from here on the release is not complete."""
        remove_file(self._marker)
        earlier = Layout(self._archive) if is_regular(self._archive) else None
        for blob in self.lacking(images) if earlier else []:
            self._salvage(earlier, blob)

    def require_space(self, images: List[Image], keep_free: int, quota: int, *, transferred: bool) -> None:
        """Refuse what does not fit: blobs, the archive in transit unless it is there, and the archive made of them."""
        total = sum(blob.size for blob in all_blobs(images))
        if quota and total > quota:
            raise PrestageError(
                f"Not enough space for the images: {readable(total)} needed, but the quota of this site is "
                f"{readable(quota)}. Raise prestage_image_quota_bytes, or shorten the image list.",
                "space",
            )
        os.makedirs(self._work, mode=0o700, exist_ok=True)
        lacking = sum(blob.size for blob in self.lacking(images))
        needed = total + lacking * (1 if transferred else 2)
        require_space(self._directory, needed, keep_free, "the images", OR_LOWER)

    def lacking(self, images: List[Image]) -> List[Blob]:
        """Return the blobs that are not in the work directory, each once."""
        return [
            blob for blob in all_blobs(images) if not is_intact(self._blob_path(blob.sha256), blob.sha256, blob.size)
        ]

    def take_layout(self, layout: Container, blob: Blob) -> None:
        """Copy a blob from a layout on the site."""
        try:
            with layout.open_blob(blob.sha256) as stream:
                write_verified(stream, self._blob_path(blob.sha256), blob.sha256, blob.size)
        except FileNotFoundError as error:
            raise PrestageError(
                f"Blob sha256:{blob.sha256} is missing in {layout.path}. Make the layout again."
            ) from error
        except DamagedError as error:
            raise PrestageError(
                f"Blob sha256:{blob.sha256} in {layout.path} is damaged. Make the layout again.", "checksum"
            ) from error

    def take_file(self, path: str, blob: Blob) -> None:
        """Copy a blob that skopeo brought."""
        try:
            copy_verified(path, self._blob_path(blob.sha256), blob.sha256, blob.size)
        except DamagedError as error:
            raise PrestageError(
                f"Blob sha256:{blob.sha256} from the registry is damaged. Prestage again.", "checksum"
            ) from error

    def take_archive(self, archive: str, images: List[Image]) -> int:
        """Take over what the controller sent; return the number of blobs."""
        parts = {blob.sha256: blob for blob in all_blobs(images)}
        return len(unpack(archive, parts, self._blob_path))

    def scratch(self) -> str:
        """Return a directory below the work directory for skopeo."""
        return os.path.join(self._work, "fetch")

    def finish(self, images: List[Image], sources: List[Source], release: str) -> Dict[str, Any]:
        """Write the archive, then the marker, then remove the work directory; return the marker."""
        checksum, size = self._write_archive(images)
        marker = {
            "release": release,
            "list_sha256": list_digest(sources),
            "archive_sha256": checksum,
            "archive_bytes": size,
            "images": [{"name": image.name, "digest": "sha256:" + image.manifest.sha256} for image in images],
            "completed_at": utc(),
        }
        write_document(self._marker, marker)
        shutil.rmtree(self._work)
        return marker

    def _blob_path(self, sha256: str) -> str:
        return os.path.join(self._work, sha256)

    def _salvage(self, earlier: Layout, blob: Blob) -> None:
        try:
            self.take_layout(earlier, blob)
        except PrestageError:
            # Whatever the earlier archive does not have is fetched.
            return

    def _write_archive(self, images: List[Image]) -> Tuple[str, int]:
        partial = os.path.join(self._work, ARCHIVE)
        with create(partial) as sink:
            with tarfile.open(fileobj=sink, mode="w:", format=tarfile.PAX_FORMAT) as archive:
                documents = [(LAYOUT_FILE, LAYOUT_CONTENT), (INDEX_FILE, index_json(images))]
                for name, content in documents + _wrappers(images):
                    add_file(archive, name, len(content), io.BytesIO(content))
                for blob in sorted(all_blobs(images)):
                    self._add_blob(archive, blob)
            sink.flush()
            os.fsync(sink.fileno())
        os.chmod(partial, 0o644)
        checksum, size = checksum_of_file(partial), os.path.getsize(partial)
        os.rename(partial, self._archive)
        sync_directory(self._directory)
        return checksum, size

    def _add_blob(self, archive: tarfile.TarFile, blob: Blob) -> None:
        with open(self._blob_path(blob.sha256), "rb") as raw:
            stream = HashingReader(raw)
            add_file(archive, BLOBS + blob.sha256, blob.size, stream)  # type: ignore[arg-type]
        if stream.checksum() != blob.sha256:
            raise PrestageError(
                f"Blob sha256:{blob.sha256} was damaged while it was written. Check the site's disk.", "checksum"
            )


def _wrappers(images: List[Image]) -> List[Tuple[str, bytes]]:
    contents = sorted({wrapper(image) for image in images} - {b""})
    return [(BLOBS + hashlib.sha256(content).hexdigest(), content) for content in contents]


def all_blobs(images: List[Image]) -> List[Blob]:
    """Return the blobs of all images, each once."""
    return list({blob.sha256: blob for image in images for blob in image.blobs}.values())


def list_digest(sources: List[Source]) -> str:
    """Return the SHA-256 of what a list asks for, whatever its comments and order."""
    text = "\n".join(sorted(source.identity for source in sources))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
