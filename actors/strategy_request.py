"""A create request, read field by field in the contract's order (3.3.1, 3.3.2). Pure: no database, no clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from actors.refusals import bad_request
from statemachine.states import ApplyType
from statemachine.versions import is_release

STRATEGY_TYPE: Final = "prestage"
MAX_PARALLEL: Final = 500

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,9}")


@dataclass(frozen=True, kw_only=True)
class StrategyRequest:
    """What a caller asked for, well-formed."""

    apply_type: str | None
    max_parallel: int | None
    stop_on_failure: bool
    force: bool
    # Name or id of the only subcloud; None for a group or all.
    cloud: str | None
    # Name or id of the only group; None for one subcloud or all.
    group: str | None
    release: str | None
    for_sw_deploy: bool


def read_request(data: Mapping[str, Any]) -> StrategyRequest:
    """Return the request.

    Raises:
        Refused: 400 with the contract's text for the first fault in its order.
    """
    _read_type(data)
    apply_type = _read_apply_type(data.get("subcloud-apply-type"))
    max_parallel = _read_max_parallel(data.get("max-parallel-subclouds"))
    stop_on_failure = _read_stop_on_failure(data.get("stop-on-failure"))
    force = read_force(data.get("force"))
    group = _read_target(data, apply_type, max_parallel)
    return StrategyRequest(
        apply_type=apply_type,
        max_parallel=max_parallel,
        stop_on_failure=stop_on_failure,
        force=force,
        cloud=data.get("cloud_name"),
        group=group,
        release=data.get("release"),
        for_sw_deploy=read_reason(data),
    )


def read_release(requested: Any, default: str | None) -> str:
    """Return the release to stage.

    Raises:
        Refused: 400; not of the form MM.mm, or none given and none configured.
    """
    if requested is None:
        if default is None:
            raise bad_request(
                "release required: the system controller's own release is not configured (PRESTAGER_RELEASE)"
            )
        return default
    if not isinstance(requested, str) or not is_release(requested):
        raise bad_request("Specified release format is not supported. Version format must be MM.mm.")
    return requested


def read_force(value: Any) -> bool:
    """Return the flag, given as a JSON boolean or as text in any case; absent is false.

    Raises:
        Refused: 400 naming force.
    """
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise bad_request(f"Invalid value '{_shown(value)}' for force - must be True/False or 'true'/'false'")


def read_flag(name: str, value: Any) -> bool:
    """Return a flag of the prestage verbs: true, false, t or f in any case, or a JSON boolean; absent is false.

    Raises:
        Refused: 400 naming the option.
    """
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.lower() in {"true", "t", "false", "f"}:
        return value.lower() in {"true", "t"}
    raise bad_request(f"Invalid value for {name} option: {_shown(value)}")


def read_reason(data: Mapping[str, Any]) -> bool:
    """Return whether the prestage is for a software deploy; otherwise it is for an install.

    Raises:
        Refused: 400; a flag is none, or both are set.
    """
    for_install = read_flag("for_install", data.get("for_install"))
    for_sw_deploy = read_flag("for_sw_deploy", data.get("for_sw_deploy"))
    if for_install and for_sw_deploy:
        raise bad_request("for_install and for_sw_deploy are mutually exclusive")
    return for_sw_deploy


def _read_type(data: Mapping[str, Any]) -> None:
    strategy_type = data.get("type")
    if not strategy_type:
        raise bad_request("type required")
    if strategy_type != STRATEGY_TYPE:
        raise bad_request("type invalid")


def _read_apply_type(value: Any) -> str | None:
    if value is None:
        return None
    if value not in (ApplyType.PARALLEL, ApplyType.SERIAL):
        raise bad_request("subcloud-apply-type invalid")
    return str(value)


def _read_max_parallel(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str) or not _WHOLE.fullmatch(str(value)):
        raise bad_request(f"max-parallel-subclouds invalid value. Value: {_shown(value)}")
    if not 1 <= int(value) <= MAX_PARALLEL:
        raise bad_request(
            f"Invalid max-parallel-subclouds value: {value}. For prestage, the value must be between 1 and"
            f" {MAX_PARALLEL}."
        )
    return int(value)


def _read_stop_on_failure(value: Any) -> bool:
    if value is None:
        return False
    if value not in ("true", "false"):
        raise bad_request("stop-on-failure invalid")
    return bool(value == "true")


def _read_target(data: Mapping[str, Any], apply_type: str | None, max_parallel: int | None) -> str | None:
    """Return the group asked for. The seed's `group` selects too, and does not exclude a width (contract 3.3.4)."""
    cloud, group, alias = (data.get(key) for key in ("cloud_name", "subcloud_group", "group"))
    if cloud is not None and (not isinstance(cloud, str) or not cloud):
        raise bad_request("cloud_name invalid")
    if cloud is not None and (group is not None or alias is not None):
        raise bad_request("cloud_name and subcloud_group are mutually exclusive")
    if group is not None and (apply_type is not None or max_parallel is not None):
        raise bad_request(
            "subcloud-apply-type and max-parallel-subclouds are not allowed when subcloud_group is provided"
        )
    chosen = group if group is not None else alias
    return None if chosen is None else str(chosen)


def _shown(value: Any) -> str:
    """Return a value as an error may repeat it."""
    text = str(value)
    return text if len(text) <= 64 else text[:62] + ".."  # noqa: PLR2004 - enough to recognise it
