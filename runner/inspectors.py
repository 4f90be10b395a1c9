"""Inspectors read the facts of a site before anything is done to it.

`declared` takes what the operator said when the site was added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from statemachine.eligibility import SiteFacts


class InspectionError(Exception):
    """The facts of the site could not be read; the message says why, in a few words."""


class Inspector(Protocol):
    """Reads a site's facts. May take as long as the network lets it; called from worker threads."""

    # Whether the answer comes from the controller itself: then a standalone prestage is judged before it is accepted.
    immediate: bool

    def inspect(self, subcloud: Mapping[str, Any]) -> SiteFacts:
        """Return the facts of the site that `subcloud` (its row in the inventory) describes.

        Raises:
            InspectionError: The site could not be reached or gave no usable answer.
        """

    def controller_is_upgrading(self, declared: bool) -> bool:  # noqa: FBT001 - a fact, not an option
        """Tell whether the system controller is busy upgrading; `declared` is what the operator set.

        Raises:
            InspectionError: The controller gave no usable answer.
        """


class DeclaredInspector:
    """Takes the facts from the inventory."""

    immediate = True

    def inspect(self, subcloud: Mapping[str, Any]) -> SiteFacts:
        """Return the declared facts.

        Raises:
            InspectionError: No OAM address was declared and none is in the connection variables.
        """
        address = subcloud["oam_floating_ip"] or subcloud["connection"].get("ansible_host")
        if not address and subcloud["connection"].get("ansible_connection") != "local":
            raise InspectionError(
                "No OAM address is declared for it; set external_oam_floating_address or ansible_host."
            )
        return SiteFacts(
            system_mode=subcloud["system_mode"],
            oam_address=address or "localhost",
            management_affecting_alarms=subcloud["management_alarms"] > 0,
            software_version=subcloud["software_version"],
        )

    def controller_is_upgrading(self, declared: bool) -> bool:  # noqa: FBT001
        """Return what the operator declared."""
        return declared
