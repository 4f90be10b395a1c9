"""Adding and changing a subcloud, and its staged releases (contract 4.1, 4.2). Fields are named like their columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, AliasChoices, Field, StrictFloat, StrictInt, WithJsonSchema, model_validator

from messages.connection_variables import callers_schema
from messages.dcmanager import SUBCLOUD_FIELDS
from messages.limits import TEXT_LENGTH
from messages.requests import subcloud_fields as values
from messages.requests.base import AcceptedAs, ErrorMessage, GroupRef, NewGroupRef, Request, SubcloudForce
from messages.requests.strategy import NO_RELEASE, PasswordRequest
from statemachine.releases import RELEASE_FORM
from statemachine.selector import LABEL_KEY_FORM, LABEL_VALUE_FORM, MOST_LABELS

_NUMBER: Final = StrictInt | StrictFloat
_ShortText = Annotated[str, Field(max_length=TEXT_LENGTH)]


def _unless_none(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


# YAML makes a number of a text that looks like one.
_Text = Annotated[
    str | None,
    AcceptedAs(_ShortText | _NUMBER | None, _unless_none(values.text)),
    ErrorMessage(values.NO_TEXT),
]
_Host = Annotated[
    str | None, AcceptedAs(_ShortText | None, _unless_none(values.host)), ErrorMessage(values.NO_ADDRESS_OR_NETWORK)
]
_Network = Annotated[
    str | None, AcceptedAs(_ShortText | None, _unless_none(values.network)), ErrorMessage(values.NO_ADDRESS_OR_NETWORK)
]
_SiteHost = Annotated[
    str | None,
    AcceptedAs(_ShortText | None, _unless_none(values.site_host)),
    ErrorMessage(values.NO_ADDRESS_OR_NETWORK),
]
_Address = Annotated[
    str | None, AcceptedAs(str | None, _unless_none(values.first_site_address)), ErrorMessage(values.NO_ADDRESS)
]
_ImportedAddress = Annotated[
    str | None, AcceptedAs(str | None, _unless_none(values.first_address)), ErrorMessage(values.NO_ADDRESS)
]
_Variables = Annotated[dict[str, Any], WithJsonSchema(callers_schema())]
_LabelChange = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{LABEL_KEY_FORM}$"},
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "pattern": f"^{LABEL_VALUE_FORM}$"},
                    {"type": "integer"},
                    {"type": "null"},
                ]
            },
        }
    ),
]
_ImportedVariables = Annotated[
    dict[str, Any] | None,
    AcceptedAs(dict[str, Any] | None, _unless_none(values.imported_connection)),
    ErrorMessage(values.NO_CONNECTION),
]
_Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=TEXT_LENGTH,
        json_schema_extra={"pattern": r"^\w[\w.\-]*$", "not": {"pattern": r"^[0-9_.\-]*$"}},
    ),
    AfterValidator(values.name),
]
_Release = Annotated[
    str | None,
    AcceptedAs(Annotated[str, Field(pattern=f"^{RELEASE_FORM}$")] | _NUMBER | None, _unless_none(values.release)),
    ErrorMessage(values.NO_RELEASE),
]
# An option of dcmanager's client that asks for what is not done here; null and the words for "not" ask for nothing.
_NotServed = Annotated[
    None, AcceptedAs(Literal["false", "none"] | None, lambda _: None), ErrorMessage(values.NOT_SERVED)
]
_NOT_SERVED: Final = "Refused, but for `false` and `none`: dcmanager's own API serves it."
_VERSION: Final = "What the site runs, as MM.mm."
_SAYING_NAME: Final = ErrorMessage(values.name_text, missing=values.NO_NAME)
_NAME: Final = "Letters, digits, dots, dashes and underscores, one letter at least; unique."


class SubcloudFields(Request):
    """Fields of a subcloud, new or known; null is as if it were not there."""

    unused_names: ClassVar[frozenset[str] | None] = SUBCLOUD_FIELDS

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data

    name: Annotated[_Name | None, _SAYING_NAME] = Field(None, description=_NAME)
    description: _Text = None
    location: _Text = None
    management_subnet: _Network = Field(
        None, validation_alias=AliasChoices("management-subnet", "management_subnet"), description="An IP network."
    )
    management_start_ip: _SiteHost = Field(
        None,
        validation_alias=AliasChoices("management-start-ip", "management_start_ip", "management_start_address"),
        description="IP address, where the site's own API is; not one of the system controller itself.",
    )
    management_end_ip: _Host = Field(
        None,
        validation_alias=AliasChoices("management-end-ip", "management_end_ip", "management_end_address"),
        description="IP address.",
    )
    management_gateway_ip: _Host = Field(
        None,
        validation_alias=AliasChoices("management-gateway-ip", "management_gateway_ip", "management_gateway_address"),
        description="IP address.",
    )
    systemcontroller_gateway_ip: _Host = Field(
        None,
        validation_alias=AliasChoices(
            "systemcontroller-gateway-ip", "systemcontroller_gateway_ip", "systemcontroller_gateway_address"
        ),
        description="IP address.",
    )
    software_version: _Release = Field(
        None, validation_alias=AliasChoices("software-version", "software_version"), description=_VERSION
    )
    deploy_status: Annotated[
        Annotated[str, Field(pattern=r"^[a-z][a-z\-]{0,63}$")] | None,
        ErrorMessage("Invalid {key}: give a status such as complete, at most 64 small letters and dashes"),
    ] = Field(None, alias="deploy-status", description="How its deployment ended, such as `complete`.")
    oam_floating_ip: _Address = Field(
        None,
        validation_alias=AliasChoices("oam_floating_ip", "external_oam_floating_address"),
        description="Where the site is reached; of several, separated by commas, the first counts. Not an address of"
        " the system controller itself.",
    )
    bootstrap_address: _Address = Field(
        None,
        validation_alias=AliasChoices("bootstrap-address", "bootstrap_address"),
        description="Where the site is reached, if `oam_floating_ip` is not given beside it.",
    )
    management_state: Annotated[Literal["managed", "unmanaged"] | None, ErrorMessage("Invalid management-state")] = (
        Field(None, alias="management-state", description="Whether the controller may work on it.")
    )
    availability_status: Annotated[
        Literal["online", "offline"] | None, ErrorMessage("Invalid availability-status: give online or offline")
    ] = Field(None, alias="availability-status", description="Whether it answers.")
    system_mode: Annotated[
        Literal["simplex", "duplex", "duplex-direct"] | None,
        ErrorMessage("Invalid system_mode: give one of simplex, duplex, duplex-direct"),
    ] = Field(
        None, validation_alias=AliasChoices("system-mode", "system_mode"), description="How many controllers it has."
    )
    management_alarms: Annotated[
        int | None,
        AcceptedAs(
            Annotated[StrictInt, Field(ge=0, le=9999)] | Annotated[str, Field(pattern="^[0-9]{1,4}$")] | None,
            _unless_none(int),
        ),
        ErrorMessage("Invalid management-alarms: give the number of management-affecting alarms"),
    ] = Field(None, alias="management-alarms", description="How many of its alarms affect management.")
    connection: Annotated[
        dict[str, Any] | None,
        AcceptedAs(_Variables | str | None, _unless_none(values.connection)),
        ErrorMessage(values.NO_CONNECTION),
    ] = Field(
        None,
        description="Ansible connection variables, as an object or as the text of one, at most 16 KiB; they replace"
        " those that callers have set. Those of the operator's import stay, and win where both name one thing. No"
        " secrets: passwords come with each prestage command.",
    )
    labels: Annotated[
        dict[str, str | None] | None,
        AcceptedAs(_LabelChange | str | None, _unless_none(values.labels)),
        ErrorMessage(values.NO_LABELS),
    ] = Field(
        None,
        description="Labels, by which selectors choose it, as an object or as the JSON text of one: values by key, at"
        f" most {MOST_LABELS}. Those that are not named stay; null removes one (RFC 7386).",
    )
    force: SubcloudForce = Field(None, description="Manage the subcloud whatever its state.")
    migrate: _NotServed = Field(None, description=_NOT_SERVED)
    enroll: _NotServed = Field(None, description=_NOT_SERVED)
    peer_group: _NotServed = Field(None, description=_NOT_SERVED)


class NewSubcloud(SubcloudFields):
    """A subcloud to be added. The site is deployed already."""

    name: Annotated[_Name, _SAYING_NAME] = Field(description=_NAME)
    # The client's `--release` is typed for this site; `software_version` may come from a file for many.
    software_version: _Release = Field(
        None, validation_alias=AliasChoices("software-version", "release", "software_version"), description=_VERSION
    )
    group: GroupRef = Field(None, alias="group_id", description="Id or name of its group; the first group by default.")


class SubcloudChange(SubcloudFields):
    """Changes of a subcloud."""

    group: NewGroupRef = Field(None, alias="group_id", description="Id or name of its new group.")


class ImportedSubcloud(NewSubcloud):
    """A subcloud to be added as the operator's file describes it: any connection variable, and any address."""

    oam_floating_ip: _ImportedAddress = None
    connection: _ImportedVariables = None


class ImportedSubcloudChange(SubcloudChange):
    """Changes of a subcloud by the operator's file."""

    oam_floating_ip: _ImportedAddress = None
    connection: _ImportedVariables = None


_StagedRelease = Annotated[
    Annotated[str, Field(pattern=f"^{RELEASE_FORM}$")],
    ErrorMessage(NO_RELEASE, missing="release required"),
]


class UnstageRequest(Request):
    """A staged release to be removed from a subcloud, as the command holds it: the password travels apart."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    release: _StagedRelease = Field(description="The release to remove, as MM.mm.")


class UnstageBody(PasswordRequest, UnstageRequest):
    """A staged release to be removed from a subcloud, as it is sent."""


class StagedRequest(Request):
    """A verdict on a release that a subcloud shows as staged, after a restored site for example."""

    unused_names: ClassVar[frozenset[str] | None] = frozenset()

    release: _StagedRelease = Field(description="The release, as MM.mm.")
    verdict: Annotated[
        Literal["unknown"],
        ErrorMessage("Invalid verdict: {value}; give unknown", missing="verdict required: give unknown"),
    ] = Field(description="`unknown`: whether the release is staged has to be found out by the next prestage.")
