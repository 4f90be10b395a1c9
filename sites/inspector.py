"""Inspectors read the facts of a site before anything is done to it.

`declared` takes what the operator said when the site was added; `sysinv` (`sites.sysinv`) asks the site.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from messages.connection_variables import site_variables
from sites.errors import InspectionError
from statemachine.eligibility import SiteFacts


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Facts that were read at a site."""

    facts: SiteFacts
    # Text for the log of the phase.
    log: str = ""
    # Whether the facts were read at the site over verified TLS.
    is_verified: bool = False


class Inspector(Protocol):
    """Reads a site's facts."""

    def known(self, subcloud: Mapping[str, Any]) -> SiteFacts | None:
        """Return the facts where they are known without a question over the network; None: the site must be asked.

        `subcloud` is its row in the inventory. Quick; callable from any thread. Where it returns facts a standalone
        prestage is judged by them before it is accepted.

        Raises:
            InspectionError: They should be known and are not.
        """

    async def read(self, subcloud: Mapping[str, Any], *, for_install: bool) -> Reading:
        """Return the facts of a site. May take as long as the network lets it.

        `for_install`: the prestage is meant for an installation.

        Raises:
            InspectionError: The site could not be reached or gave no usable answer.
        """


class DeclaredInspector:
    """Takes the facts from the inventory."""

    def known(self, subcloud: Mapping[str, Any]) -> SiteFacts:
        """Return the declared facts.

        Raises:
            InspectionError: No OAM address was declared and none is in the connection variables.
        """
        connection = site_variables(subcloud)
        address = subcloud["oam_floating_ip"] or connection.get("ansible_host")
        if not address and connection.get("ansible_connection") != "local":
            raise InspectionError(
                "No OAM address is declared for it; set external_oam_floating_address or ansible_host."
            )
        return SiteFacts(
            system_mode=subcloud["system_mode"],
            oam_address=address or "localhost",
            management_affecting_alarms=subcloud["management_alarms"] > 0,
            software_version=subcloud["software_version"],
        )

    async def read(self, subcloud: Mapping[str, Any], *, for_install: bool) -> Reading:
        """Return the declared facts; see `known`."""
        del for_install
        return Reading(facts=self.known(subcloud))


class ControllerCheck(Protocol):
    """Checks whether the system controller is being upgraded."""

    def is_upgrading(self) -> bool:
        """Return whether it is. Takes a few seconds at most; callable from any thread, never inside a transaction.

        Raises:
            InspectionError: It could not be read.
        """

    def releases(self) -> tuple[str, ...] | None:
        """Return the releases (MM.mm) that the controller has, oldest first; None: it is not asked for them.

        Takes a few seconds at most; callable from any thread, never inside a transaction.

        Raises:
            InspectionError: It could not be read.
        """


class DeclaredControllerCheck:
    """Leaves it to the operator's declaration."""

    def is_upgrading(self) -> bool:
        """Return False: nothing is read."""
        return False

    def releases(self) -> tuple[str, ...] | None:
        """Return None: nothing is read."""
        return None
