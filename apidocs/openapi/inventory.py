"""The routes of subclouds and groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp.typedefs import Handler

from api import groups, subclouds
from apidocs.openapi.operation import Body, GroupList, GroupMembers, Operation, Response, SubcloudList
from messages.inventory_schemas import (
    ChangedSubcloud,
    DetailedSubcloud,
    Group,
    PrestagedSubcloud,
    Subcloud,
    SubcloudDetail,
    UnstagedSubcloud,
)
from messages.requests.group import GroupChange, GroupRequest
from messages.requests.queries import ListQuery
from messages.requests.strategy import PrestageBody
from messages.requests.subcloud import NewSubcloud, StagedRequest, SubcloudChange, UnstageBody

_SUBCLOUDS: Final = "Subclouds"
_SUBCLOUD: Final = ("Name of the subcloud, or its id.", "edge-12")
_NO_PLAYBOOKS: Final = "No worker can run the playbooks."
_NO_SUBCLOUD: Final = {404: "There is no such subcloud."}
_GROUPS: Final = "Groups"
_GROUP: Final = ("Name of the group, or its id.", "north")
_NO_GROUP: Final = {404: "There is no such group."}
_WRONG: Final = {400: "The first field that is wrong, in the order of the fields."}
_TAKEN: Final = {409: "The name is taken."}
_PASSWORD: Final = "c2VjcmV0"  # noqa: S105 - an example

SUBCLOUDS: Final[Mapping[Handler, Operation]] = {
    subclouds.show_all: Operation(
        id="list-subclouds",
        tag=_SUBCLOUDS,
        query=ListQuery,
        response=Response(description="The subclouds in the order of their ids.", type=SubcloudList),
        errors={400: "The first filter that is wrong."},
        notes="Filters of steps are about the step of the subcloud in the active strategy. Parameters that are not"
        " known are ignored, as dcmanager's API does.",
    ),
    subclouds.add: Operation(
        id="add-subcloud",
        tag=_SUBCLOUDS,
        is_command=True,
        body=Body(
            model=NewSubcloud,
            examples={
                "a site": {
                    "name": "edge-21",
                    "group_id": "north",
                    "bootstrap-address": "192.0.2.21",
                    "software-version": "22.12",
                }
            },
            is_form=True,
            file=(
                "bootstrap_values",
                "YAML with the fields as in upstream's bootstrap values; parts of the form count before them.",
            ),
        ),
        response=Response(
            description="The subcloud: `unmanaged` and `offline`, unless given otherwise.", type=ChangedSubcloud
        ),
        errors={**_WRONG, **_TAKEN},
    ),
    subclouds.show: Operation(
        id="show-subcloud",
        tag=_SUBCLOUDS,
        ref=_SUBCLOUD,
        response=Response(description="The subcloud.", type=SubcloudDetail),
        errors=_NO_SUBCLOUD,
    ),
    subclouds.change: Operation(
        id="change-subcloud",
        tag=_SUBCLOUDS,
        is_command=True,
        ref=_SUBCLOUD,
        body=Body(
            model=SubcloudChange,
            examples={
                "manage": {"management-state": "managed"},
                "describe": {"description": "Roof of the town hall", "location": "north"},
            },
            is_form=True,
        ),
        response=Response(description="The subcloud as it is now.", type=ChangedSubcloud),
        errors={
            **_WRONG,
            **_NO_SUBCLOUD,
            **_TAKEN,
            422: "The subcloud is in that management state already, or may not be managed in the state it is in; or it"
            " is managed, and its management network cannot change.",
        },
        notes="An operator may send `management-state` and `force` only.",
    ),
    subclouds.delete: Operation(
        id="delete-subcloud",
        tag=_SUBCLOUDS,
        is_command=True,
        ref=_SUBCLOUD,
        response=Response(description="It is gone.", type=None),
        errors={
            400: "The subcloud is managed, or being worked on.",
            **_NO_SUBCLOUD,
            422: "The subcloud is online.",
        },
    ),
    subclouds.show_detail: Operation(
        id="show-subcloud-detail",
        tag=_SUBCLOUDS,
        ref=_SUBCLOUD,
        response=Response(description="The subcloud.", type=DetailedSubcloud),
        errors=_NO_SUBCLOUD,
    ),
    subclouds.prestage: Operation(
        id="prestage-subcloud",
        tag=_SUBCLOUDS,
        is_command=True,
        ref=_SUBCLOUD,
        body=Body(
            model=PrestageBody,
            examples={"the controller's release": {"sysadmin_password": _PASSWORD}},
        ),
        response=Response(description="The subcloud, which is being prestaged from now on.", type=PrestagedSubcloud),
        errors={
            400: "The first field that is wrong, or why the subcloud may not be prestaged.",
            **_NO_SUBCLOUD,
            422: _NO_PLAYBOOKS,
        },
    ),
    subclouds.forget_staged: Operation(
        id="forget-staged-release",
        tag=_SUBCLOUDS,
        is_command=True,
        ref=_SUBCLOUD,
        body=Body(model=StagedRequest, examples={"after a restore": {"release": "23.09", "verdict": "unknown"}}),
        response=Response(
            description="The subcloud as it is now; one that shows another release is as it was.", type=Subcloud
        ),
        errors={400: "The first field that is wrong, or the subcloud is being worked on.", **_NO_SUBCLOUD},
        notes="The site is not asked, and nothing is removed there.",
    ),
    subclouds.unstage: Operation(
        id="remove-staged-release",
        tag=_SUBCLOUDS,
        is_command=True,
        ref=_SUBCLOUD,
        body=Body(model=UnstageBody, examples={"a release": {"release": "23.09", "sysadmin_password": _PASSWORD}}),
        response=Response(
            description="The subcloud as it is before the removal begins; `prestage-status` ends with that, and"
            " `error-description` says why a removal failed.",
            type=UnstagedSubcloud,
        ),
        errors={
            400: "The first field that is wrong, or why the release may not be removed.",
            **_NO_SUBCLOUD,
            422: _NO_PLAYBOOKS,
        },
        notes="Removes only what Prestager's playbooks put on the site, and never the release that it runs. A repeat"
        " finds nothing and is complete. Events: `step.unstage.…`; log: that of the subcloud's step.",
    ),
}

GROUPS: Final[Mapping[Handler, Operation]] = {
    groups.show_all: Operation(
        id="list-groups",
        tag=_GROUPS,
        response=Response(description="The groups in the order of their ids.", type=GroupList),
    ),
    groups.create: Operation(
        id="create-group",
        tag=_GROUPS,
        is_command=True,
        body=Body(
            model=GroupRequest,
            examples={
                "two at a time": {
                    "name": "north",
                    "description": "Sites beyond the river",
                    "update_apply_type": "parallel",
                    "max_parallel_subclouds": 2,
                }
            },
        ),
        response=Response(description="The new group.", type=Group),
        errors={400: "The first field that is wrong, or the name is taken."},
    ),
    groups.show: Operation(
        id="show-group",
        tag=_GROUPS,
        ref=_GROUP,
        response=Response(description="The group.", type=Group),
        errors=_NO_GROUP,
    ),
    groups.change: Operation(
        id="change-group",
        tag=_GROUPS,
        is_command=True,
        ref=_GROUP,
        body=Body(model=GroupChange, examples={"one by one": {"update_apply_type": "serial"}}),
        response=Response(description="The group as it is now.", type=Group),
        errors={400: "The first field that is wrong, the name is taken, or there is nothing to change.", **_NO_GROUP},
        notes="A strategy that exists keeps the stages it has.",
    ),
    groups.delete: Operation(
        id="delete-group",
        tag=_GROUPS,
        is_command=True,
        ref=_GROUP,
        response=Response(description="It is gone.", type=None),
        errors={400: "It is the group `Default`, or has members.", **_NO_GROUP},
    ),
    groups.show_subclouds: Operation(
        id="list-group-members",
        tag=_GROUPS,
        ref=_GROUP,
        response=Response(description="The subclouds in the order of their ids.", type=GroupMembers),
        errors=_NO_GROUP,
    ),
}
