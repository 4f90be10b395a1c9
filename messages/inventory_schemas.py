"""The JSON objects of subclouds and groups as types."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field

# Pydantic cannot read those of `typing` before Python 3.12.
from typing_extensions import TypedDict

from messages.schemas import Count, Moment, Notes
from statemachine.states import ApplyType, Availability, ManagementState, PrestageStatus

Subcloud = TypedDict(
    "Subcloud",
    {
        "id": int,
        "name": str,
        "description": str | None,
        "location": str | None,
        "software-version": str,
        "management-state": ManagementState,
        "availability-status": Availability,
        "deploy-status": str,
        "prestage-status": PrestageStatus | None,
        "prestage-versions": Annotated[
            str | None, Field(description="What is prestaged there, in the words of its playbook.")
        ],
        "error-description": str,
        "region-name": str,
        "management-subnet": str | None,
        "management-start-ip": str | None,
        "management-end-ip": str | None,
        "management-gateway-ip": str | None,
        "systemcontroller-gateway-ip": str | None,
        "openstack-installed": bool,
        "group_id": int,
        "data_install": str | None,
        "system-mode": str,
        "management-alarms": Annotated[int, Field(ge=0, description="Alarms that affect management.")],
        "labels": Annotated[dict[str, str], Field(description="Labels, by which selectors choose it: values by key.")],
        "created-at": Moment,
        "updated-at": Moment | None,
        "backup-status": None,
        "backup-datetime": None,
        "data_upgrade": None,
    },
)


class ChangedSubcloud(Subcloud):
    """A subcloud that was added or changed."""

    info_message: NotRequired[Annotated[str, Field(description="Names the fields that were sent and are not used.")]]


class SubcloudDetail(Subcloud):
    """A subcloud as it is shown by itself. Nothing is synchronised with sites."""

    endpoint_sync_status: Annotated[list[dict[str, Any]], Field(max_length=0)]


class ListedSubcloud(SubcloudDetail):
    """A subcloud in the list of all."""

    sync_status: Literal["unknown"]


class DetailedSubcloud(SubcloudDetail):
    """A subcloud with what the client prints for `--detail`."""

    oam_floating_ip: Annotated[str, Field(description="`unavailable` where it is not known.")]
    host_keys: Annotated[
        list[str],
        Field(
            description="Recorded SSH host keys, each as `SHA256:<digest> (<type>)`; none: no key is known.",
            examples=[["SHA256:uNiVztksCsDhcc0u9e8BrqhG9fpkpTZBz2rSBGV0tGI (ssh-ed25519)"]],
        ),
    ]
    deploy_config_sync_status: Literal["unknown"]
    region_name: str


_Prestaging = TypedDict(
    "_Prestaging",
    {"prestage-software-version": Annotated[str, Field(description="The release that is being staged.")]},
)


class PrestagedSubcloud(Subcloud, _Prestaging):
    """A subcloud whose prestage has begun."""

    info_message: Notes


_Unstaging = TypedDict(
    "_Unstaging",
    {
        "unstage-software-version": Annotated[str, Field(description="The release that is being removed.")],
        "step-id": Annotated[int, Field(description="Id of its step, as `/v1.0/prestages` lists it.")],
    },
)


class UnstagedSubcloud(Subcloud, _Unstaging):
    """A subcloud from which the removal of a staged release was started."""


Group = TypedDict(
    "Group",
    {
        "id": int,
        "name": str,
        "description": str,
        "update_apply_type": ApplyType,
        "max_parallel_subclouds": Annotated[int, Field(ge=1)],
        "rollout": Annotated[dict[str, Any], Field(description="Options for strategies that name the group.")],
        "created-at": Moment,
        "updated-at": Moment | None,
    },
)


class CountedGroup(Group):
    """A group in the list of all."""

    subcloud_count: Count
