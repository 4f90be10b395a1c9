"""Interpretation of dcmanager's list of subclouds. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sites.sysinv.errors import FaultKind, SiteFaultError
from statemachine.site_operations import IN_TRANSITION, SiteOperation, find_operation

# Of what the other side wrote, in a message of ours, in characters.
_SHOWN: Final = 64


@dataclass(frozen=True, kw_only=True)
class DcmanagerSubclouds:
    """What the list says.

    Attributes:
        count: How many subclouds it has.

        operations: What goes on, by the name of the subcloud; those where nothing does are not in it.
    """

    count: int
    operations: Mapping[str, SiteOperation]


def listed_objects(body: Any, key: str) -> list[Mapping[str, Any]]:
    """Return the named objects that an answer such as `{"subclouds": [{"name": "edge-1"}]}` lists under `key`.

    Raises:
        SiteFaultError: It is not of that form, or lists a name twice.
    """
    found = body.get(key) if isinstance(body, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise _unusable(f"It gave no list {key}: it does not answer as dcmanager does.")
    names = [one.get("name") for one in found]
    if not all(isinstance(name, str) and name for name in names):
        raise _unusable(f"Its list {key} has one without a name.")
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise _unusable(f"Its list {key} has {str(twice)[:_SHOWN]!r} twice.")
    return found


def read_subclouds(body: Any) -> DcmanagerSubclouds:
    """Return what `GET /v1.0/subclouds/` says of operations that go on.

    Raises:
        SiteFaultError: It is no list of subclouds, one has no name or a name of another, or a status is no text.
    """
    subclouds = listed_objects(body, "subclouds")
    found = {str(one["name"]): find_operation(_statuses(one)) for one in subclouds}
    operations = {name: operation for name, operation in found.items() if operation is not None}
    return DcmanagerSubclouds(count=len(subclouds), operations=operations)


def _statuses(subcloud: Mapping[str, Any]) -> dict[str, str | None]:
    statuses = {key: subcloud.get(key) for key in IN_TRANSITION}
    for key, status in statuses.items():
        # Null, or absent in older releases: there was no such operation.
        if status is not None and not isinstance(status, str):
            raise _unusable(f"Its {key} of {str(subcloud['name'])[:_SHOWN]!r} is no text.")
    return statuses


def _unusable(text: str) -> SiteFaultError:
    return SiteFaultError(FaultKind.UNUSABLE, text)
