"""The software that the system controller's USM lists, in the form in which StarlingX's packages playbook takes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from statemachine.releases import is_older

_DEPLOYED: Final = "deployed"
# Ansible evaluates what it is given: nothing but plain names is passed on.
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_MOST: Final = 1000


@dataclass(frozen=True, kw_only=True)
class ListedSoftware:
    """One release of USM, such as `starlingx-24.09.1`."""

    release_id: str
    # MM.mm.p
    sw_version: str
    state: str
    # True or False.
    reboot_required: str

    @property
    def release(self) -> str:
        """The release (MM.mm) that it belongs to."""
        return ".".join(self.sw_version.split(".")[:2])

    @property
    def line(self) -> str:
        """The line that `software list` prints of it, without blanks."""
        return f"|{self.release_id}|{self.reboot_required}|{self.state}|"


def read_software(body: Any) -> tuple[ListedSoftware, ...]:
    """Return what `GET /v1/release` lists, in its order; entries of another form are left out."""
    entries = body if isinstance(body, list) else []
    return tuple(found for entry in entries[:_MOST] if (found := _listed(entry)) is not None)


def software_lines(software: Iterable[ListedSoftware], release: str, own: str | None) -> list[str]:
    """Return the lines about one release (MM.mm), as dcmanager chooses them.

    Of a release older than `own`, the controller's, all count, of others those that are deployed.
    """
    takes_all = own is not None and is_older(release, own)
    return [one.line for one in software if one.release == release and (takes_all or one.state == _DEPLOYED)]


def _listed(entry: Any) -> ListedSoftware | None:
    if not isinstance(entry, Mapping):
        return None
    texts = [str(entry.get(key, "")) for key in ("release_id", "sw_version", "state", "reboot_required")]
    if not all(_PLAIN.fullmatch(text) for text in texts):
        return None
    release_id, version, state, reboot = texts
    return ListedSoftware(release_id=release_id, sw_version=version, state=state, reboot_required=reboot)
