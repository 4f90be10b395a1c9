"""Asks skopeo, on the site, for images of a registry: first what they are and how big, then their blobs."""

import hashlib
import os
import re
import shutil
import subprocess
from typing import Any, Callable, List, NamedTuple

from .errors import PrestageError
from .image_list import Reference
from .image_manifest import DEEPEST, Blob, Child, parse_manifest
from .oci_layout import Image
from .platforms import OS, choose, own_architecture

INSPECT_TIMEOUT_S = 120
# How much of skopeo's own words goes into a message.
SHOWN_CHARACTERS = 300
LOG_MESSAGE = re.compile(r'level=\w+ msg="(?P<text>.*)"\Z')


class RegistryAccess(NamedTuple):
    """How skopeo is called."""

    program: str
    tls_verify: bool
    # auth.json as `skopeo login` writes it; empty: no login.
    auth_file: str
    # Held by the children too, so that the site stays locked until they are dead.
    lock_descriptor: int


class Registry:
    """Fetches images through skopeo."""

    def __init__(self, access: RegistryAccess) -> None:
        """Nothing is started yet."""
        self._access = access

    def resolve(self, reference: Reference) -> Image:
        """
        Return what a reference stands for now on this site's kind of machine, without fetching layers.

        Raises:
            PrestageError: skopeo is missing, the registry refuses, or the digest is not the pinned one.
        """
        self._require_skopeo(reference)
        name = _bare(reference)
        raw = self._inspect(f"{name}@{reference.pinned}" if reference.pinned else reference.location, reference)
        digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        if reference.pinned and digest != reference.pinned:
            raise PrestageError(
                f"Image {reference.name}: the list pins {reference.pinned}, the registry sent {digest}.", "registry"
            )
        where = f"Image {reference.name}"
        manifest = parse_manifest(raw, "", where)
        for _ in range(DEEPEST):
            if not manifest.is_index:
                break
            chosen = self._choose(manifest.children, reference)
            digest = "sha256:" + chosen.sha256
            raw = self._inspect(f"{name}@{digest}", reference)
            if hashlib.sha256(raw).hexdigest() != chosen.sha256:
                raise PrestageError(
                    f"{where}: the registry sent a manifest that is not {digest}. Prestage again.", "registry"
                )
            manifest = parse_manifest(raw, chosen.media_type, where)
        if manifest.is_index:
            raise PrestageError(
                f"{where} is malformed: its indexes are nested too deeply. Push the image again.", "registry"
            )
        top = Blob(digest.split(":", 1)[1], len(raw))
        blobs = list({blob.sha256: blob for blob in [top, *manifest.leaves]}.values())
        return Image(reference.name, manifest.media_type, top, blobs)

    def fetch(self, reference: Reference, image: Image, directory: str, take: Callable[[str, Blob], None]) -> None:
        """
        Fetch an image into `directory`, which is made and removed, and hand each blob's file to `take`.

        Raises:
            PrestageError: skopeo failed or a blob did not arrive.
        """
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory, mode=0o700)
        source = f"docker://{_bare(reference)}@sha256:{image.manifest.sha256}"
        try:
            arguments = ["copy", "--quiet", *self._options("--src-tls-verify", "--src-authfile")]
            self._run([*arguments, source, "dir:" + directory], reference, None)
            for blob in image.blobs:
                name = "manifest.json" if blob == image.manifest else blob.sha256
                path = os.path.join(directory, name)
                if not os.path.isfile(path):
                    raise PrestageError(
                        f"Image {reference.name}: blob sha256:{blob.sha256} did not arrive. Prestage again.", "registry"
                    )
                take(path, blob)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _require_skopeo(self, reference: Reference) -> None:
        if shutil.which(self._access.program) is None:
            raise PrestageError(
                f"{self._access.program} is not installed on this site, but docker://{reference.name} needs it. "
                "Install skopeo there, set prestage_skopeo, or list the image as an OCI layout (oci:path).",
                "registry",
            )

    def _choose(self, children: List[Child], reference: Reference) -> Child:
        """Pick the manifest for this machine from a multi-platform image."""
        chosen = choose(children, own_architecture())
        if chosen is None:
            wanted = f"{OS}/{own_architecture()}"
            raise PrestageError(f"Image {reference.name} has no variant for {wanted}. Choose another tag.", "registry")
        return chosen

    def _inspect(self, name: str, reference: Reference) -> bytes:
        arguments = ["inspect", "--raw", *self._options("--tls-verify", "--authfile")]
        return self._run([*arguments, "docker://" + name], reference, INSPECT_TIMEOUT_S)

    def _options(self, tls_option: str, auth_option: str) -> List[str]:
        options = [f"{tls_option}={'true' if self._access.tls_verify else 'false'}"]
        return options + ([f"{auth_option}={self._access.auth_file}"] if self._access.auth_file else [])

    def _run(self, arguments: List[str], reference: Reference, timeout_s: Any) -> bytes:
        try:
            done = subprocess.run(
                [self._access.program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=timeout_s,
                pass_fds=[self._access.lock_descriptor],
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PrestageError(
                f"Image {reference.name}: the registry did not answer within {timeout_s} s. Check the network.",
                "registry",
            ) from error
        if done.returncode != 0:
            reason = _last_words(done.stderr.decode("utf-8", "replace")) or f"exit code {done.returncode}"
            raise PrestageError(f"Image {reference.name} could not be fetched by this site: {reason}", "registry")
        return done.stdout


def _bare(reference: Reference) -> str:
    """Return the repository without its tag: registries take a tag or a digest, not both."""
    head, _, last = reference.location.rpartition("/")
    return f"{head}/{last.split(':', 1)[0]}"


def _last_words(output: str) -> str:
    """Return the message of skopeo's last line without its time and level."""
    lines = output.strip().splitlines()
    match = LOG_MESSAGE.search(lines[-1]) if lines else None
    text = match.group("text").replace('\\"', '"') if match else "".join(lines[-1:])
    return text[-SHOWN_CHARACTERS:]
