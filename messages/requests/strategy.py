"""Creating a strategy (contract 3.3.1, 3.3.2), acting on it, and what the prestage of one subcloud has in common."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, ValidationInfo, WithJsonSchema, field_validator

from messages.commands import STRATEGY_ACTIONS
from messages.dcmanager import STRATEGY_FIELDS, with_not_served
from messages.requests.base import AcceptedAs, ErrorMessage, Force, GroupRef, Option, Request, validation_error
from messages.requests.rollout import Rollout, RolloutOptions
from messages.requests.targets import MOST_NAMES, CloudRefs, ExcludedTargets, SelectorText
from statemachine.releases import RELEASE_FORM
from statemachine.states import STRATEGY_TYPES

# Types of strategies that can be created.
_TYPES: Final = [str(one.name) for one in STRATEGY_TYPES.values() if one.is_strategy]
MAX_PARALLEL: Final = 500

_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
# Sites, stages, and the beginning of a hash.
DIGEST_FORM: Final = r"[0-9]{1,6}-[0-9]{1,6}-[0-9a-f]{12}"
_MISSING: Final = "missing"
_UNDECODABLE: Final = "undecodable"


def _width_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or not _WHOLE.fullmatch(str(value)):
        return "max-parallel-subclouds invalid value. Value: {value}"
    return (
        "Invalid max-parallel-subclouds value: {value}. For prestage, the value must be between 1 and"
        f" {MAX_PARALLEL}."
    )


_Width = (
    Annotated[StrictInt, Field(ge=1, le=MAX_PARALLEL)]
    | Annotated[str, Field(pattern=r"^\+?0*([1-9][0-9]?|[1-4][0-9][0-9]|500)$", max_length=10)]
    | None
)


def _served_type(text: str) -> str:
    if text not in _TYPES:
        raise ValueError("not a type of strategies")
    return text


class StrategyRequest(Request):
    """A strategy to be created, but for password and release, which are validated after its group was found."""

    unused_names: ClassVar[frozenset[str] | None] = STRATEGY_FIELDS

    type: Annotated[
        Annotated[
            str,
            AfterValidator(_served_type),
            WithJsonSchema({"type": "string", **({"const": _TYPES[0]} if len(_TYPES) == 1 else {"enum": _TYPES})}),
        ],
        ErrorMessage(
            lambda value: with_not_served("type invalid", value) if value else "type required",
            missing="type required",
        ),
    ] = Field(description="The strategy's type.")
    apply_type: Annotated[Literal["parallel", "serial"] | None, ErrorMessage("subcloud-apply-type invalid")] = Field(
        None, alias="subcloud-apply-type", description="Instead of what each group says."
    )
    max_parallel: Annotated[
        int | None, AcceptedAs(_Width, lambda value: None if value is None else int(value)), ErrorMessage(_width_text)
    ] = Field(
        None,
        alias="max-parallel-subclouds",
        description="Most subclouds of a stage, as a number or as text; instead of what each group says.",
    )
    stop_on_failure: Annotated[
        bool,
        AcceptedAs(StrictBool | Literal["true", "false"] | None, lambda value: value in (True, "true")),
        ErrorMessage("stop-on-failure invalid"),
    ] = Field(False, alias="stop-on-failure", description="Start nothing more once a subcloud failed.")
    force: Force = Field(False, description="Prestage in spite of alarms that affect management.")
    cloud: Annotated[Annotated[str, Field(min_length=1)] | None, ErrorMessage("cloud_name invalid")] = Field(
        None, alias="cloud_name", description="Name or id of the only subcloud; without it and a group, all are meant."
    )
    subcloud_group: GroupRef = Field(
        None,
        description="Name or id of the only group. Excludes `cloud_name`, `subcloud-apply-type` and"
        " `max-parallel-subclouds`.",
    )
    alias: GroupRef = Field(
        None,
        alias="group",
        validate_default=True,
        description="As `subcloud_group`, but an apply type or a width may be given beside it.",
    )
    for_install: Option = Field(False, description="The prestage is for an install, which is the default.")
    for_sw_deploy: Option = Field(
        False, validate_default=True, description="The prestage is for a software deploy. Excludes `for_install`."
    )

    clouds: CloudRefs = Field(
        None, description="Names or ids of the only subclouds. One that cannot be prestaged refuses the request."
    )
    selector: SelectorText = Field(
        None, description="Only subclouds whose labels it matches: docs/inventory.md has its terms."
    )
    exclude: ExcludedTargets = Field(None, description="Subclouds that are not meant.")
    skip_ineligible: Annotated[StrictBool, ErrorMessage("{key} must be true or false, got {value}")] = Field(
        False,
        alias="skip-ineligible",
        validate_default=True,
        description="Leave out those of `clouds` that cannot be prestaged, instead of refusing the request.",
    )
    plan_digest: Annotated[
        Annotated[str, Field(pattern=f"^{DIGEST_FORM}$")] | None,
        ErrorMessage("{key} must be that of a preview, such as 412-9-0123456789ab, got {value}"),
    ] = Field(
        None,
        alias="plan-digest",
        description="That of a preview: where the strategy would be another one by now, it is refused with 409.",
    )

    rollout: Rollout = Field(None, description="How the strategy is limited; docs/holds.md has every option.")

    @property
    def group(self) -> str | None:
        """Return name or id of the only group; None for one subcloud or all."""
        return self.subcloud_group if self.subcloud_group is not None else self.alias

    @field_validator("alias")
    @classmethod
    def _judge_target(cls, alias: str | None, info: ValidationInfo) -> str | None:
        """Refuse targets that exclude each other; the seed's `group` does not exclude a width (contract 3.3.4)."""
        given = info.data.get
        if given("cloud") is not None and (given("subcloud_group") is not None or alias is not None):
            raise validation_error("cloud_name and subcloud_group are mutually exclusive")
        if given("subcloud_group") is not None and (
            given("apply_type") is not None or given("max_parallel") is not None
        ):
            raise validation_error(
                "subcloud-apply-type and max-parallel-subclouds are not allowed when subcloud_group is provided"
            )
        return alias

    @field_validator("for_sw_deploy")
    @classmethod
    def _judge_reason(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - the value itself
        return _one_reason(value, info)

    @field_validator("skip_ineligible")
    @classmethod
    def _judge_narrowing(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - the value itself
        """Refuse what would narrow a single subcloud, and more names than a body may have."""
        given = info.data.get
        narrowing = next((name for name in ("clouds", "selector", "exclude") if given(name) is not None), None)
        if given("cloud") is not None and narrowing is not None:
            raise validation_error(f"cloud_name and {narrowing} are mutually exclusive")
        exclude = given("exclude")
        if len(given("clouds") or ()) + len((exclude and exclude.clouds) or ()) > MOST_NAMES:
            raise validation_error(f"clouds and exclude.clouds have more than {MOST_NAMES} names together")
        return value

    @field_validator("rollout")
    @classmethod
    def _judge_budget(cls, rollout: RolloutOptions | None, info: ValidationInfo) -> RolloutOptions | None:
        """Refuse two rules about failures in one request."""
        if rollout is not None and rollout.max_failures is not None and info.data.get("stop_on_failure"):
            raise validation_error("stop-on-failure and rollout.max-failures are mutually exclusive")
        return rollout


class VerbRequest(Request):
    """Type of the strategy to start, stop or make history, as the command holds it."""

    type: str | None = Field(None, description="Only a strategy of this type, such as `prestage`; null: of any.")


class PrestageRequest(Request):
    """A prestage of one subcloud, but for the fields that are validated apart: password and release (contract 4.3)."""

    unused_names: ClassVar[frozenset[str] | None] = STRATEGY_FIELDS

    force: Option = Field(False, description="Prestage in spite of alarms that affect management.")
    for_install: Option = Field(False, description="The prestage is for an install, which is the default.")
    for_sw_deploy: Option = Field(
        False, validate_default=True, description="The prestage is for a software deploy. Excludes `for_install`."
    )

    @field_validator("for_sw_deploy")
    @classmethod
    def _judge_reason(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - the value itself
        return _one_reason(value, info)


NO_RELEASE: Final = "Specified release format is not supported. Version format must be MM.mm."


class ReleaseRequest(Request):
    """The release to stage."""

    release: Annotated[
        Annotated[str, Field(pattern=f"^{RELEASE_FORM}$")] | None,
        ErrorMessage(NO_RELEASE),
    ] = Field(None, description="The release to stage; that of the system controller where none is given.")


def _decoded(text: str) -> str:
    try:
        # Strict, for the lenient decoder makes something of many a password that was not encoded.
        plain = b64decode("".join(text.split()), validate=True).decode()
    except ValueError:
        raise validation_error(_UNDECODABLE) from None
    # That of `echo secret | base64`; a site would take it, and the password without it would not be masked.
    password = plain.removesuffix("\n").removesuffix("\r")
    if not password:
        raise validation_error(_MISSING)
    return password


_Encoded = Annotated[str, Field(min_length=1, json_schema_extra={"contentEncoding": "base64", "format": "password"})]
# A password that takes the place of another one.
NewPassword = Annotated[
    str | None,
    AcceptedAs(_Encoded | None, lambda value: None if value is None else _decoded(value)),
    ErrorMessage(_UNDECODABLE),
]


class PasswordRequest(Request):
    """The password of the sites' account, decoded. An error is a value of a command's `password_fault`, no sentence."""

    sysadmin_password: Annotated[
        str,
        AcceptedAs(_Encoded, _decoded),
        ErrorMessage(lambda value: _MISSING if value is None or value == "" else _UNDECODABLE, missing=_MISSING),
    ] = Field(repr=False, description="The password of the sites' account: UTF-8 in base64. It is kept sealed.")


class StrategyCommand(ReleaseRequest, StrategyRequest):
    """A strategy to be created, as the command holds it: the password travels apart."""


class PrestageCommand(ReleaseRequest, PrestageRequest):
    """A prestage of one subcloud, as the command holds it: the password travels apart."""


class StrategyBody(PasswordRequest, ReleaseRequest, StrategyRequest):
    """A strategy to be created, as it is sent."""


class PrestageBody(PasswordRequest, ReleaseRequest, PrestageRequest):
    """A prestage of one subcloud, as it is sent."""


def _known_action(text: str) -> str:
    if text not in STRATEGY_ACTIONS:
        raise ValueError("no action")
    return text


class ActionRequest(Request):
    """Action on the strategy."""

    action: Annotated[
        Annotated[
            str,
            AfterValidator(_known_action),
            WithJsonSchema({"type": "string", "enum": list(STRATEGY_ACTIONS)}),
        ],
        ErrorMessage(lambda value: "action invalid" if value else "action required", missing="action required"),
    ] = Field(
        description="`apply` starts the strategy; `abort` lets running steps end and starts no more; `pause` holds it,"
        " `resume` ends its holds; `cancel` stops running steps too; `approve` lets the stage after one"
        " start, `deny` aborts."
    )


def _one_reason(value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - the value itself
    if value and info.data.get("for_install"):
        raise validation_error("for_install and for_sw_deploy are mutually exclusive")
    return value
