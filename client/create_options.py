"""Options of `prestager strategy create` and `preview`, as the fields of the API's request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from client.errors import SurroundingsError
from client.rollout_options import (
    Approvers,
    AskApproval,
    Canary,
    MaxFailures,
    OnBudgetChoice,
    OnPrepareFailureChoice,
    OnTimeLimitChoice,
    RampStart,
    Soak,
    TimeLimits,
    canary_options,
    rollout_options,
)
from client.strategy_queries import TYPE
from statemachine.rollout import RolloutMode


def strategy_fields(  # noqa: PLR0913 - options of the shell
    *,
    group: Annotated[str | None, typer.Option(help="Only the sites of this group: name or id.")] = None,
    subcloud: Annotated[list[str] | None, typer.Option(help="Only this site: name or id; may be given again.")] = None,
    from_file: Annotated[
        Path | None, typer.Option(help="Only the sites of this file: a name or id a line, comments behind #.")
    ] = None,
    selector: Annotated[
        str | None, typer.Option(help="Only sites with these labels, such as 'region=eu,tier!=gold,!old'.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Not this site: name or id; may be given again.")] = None,
    exclude_selector: Annotated[str | None, typer.Option(help="Not the sites with these labels.")] = None,
    skip_ineligible: Annotated[
        bool, typer.Option("--skip-ineligible", help="Leave out named sites that cannot be prestaged.")
    ] = False,
    release: Annotated[
        str | None, typer.Option(help="Release to stage (MM.mm); the default is the system controller's.")
    ] = None,
    serial: Annotated[
        bool, typer.Option("--serial", help="One site after another; otherwise as each group says.")
    ] = False,
    max_parallel: Annotated[
        int | None, typer.Option(min=1, help="Most sites at once; otherwise as each group says.")
    ] = None,
    mode: Annotated[
        RolloutMode | None,
        typer.Option(help="stages: the next stage starts when the one before has ended; window: site after site."),
    ] = None,
    canary: Canary = None,
    soak: Soak = None,
    gate: AskApproval = False,
    approver: Approvers = None,
    order: Annotated[str | None, typer.Option(help="With --mode window: by-id, or longest-first.")] = None,
    max_failures: MaxFailures = None,
    on_budget: OnBudgetChoice = None,
    on_prepare_failure: OnPrepareFailureChoice = None,
    ramp_start: RampStart = None,
    time_limits: TimeLimits = None,
    on_strategy_limit: OnTimeLimitChoice = None,
    stop_on_failure: Annotated[
        bool, typer.Option("--stop-on-failure", help="Start nothing more once a site failed.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Prestage in spite of alarms that affect management.")] = False,
    for_sw_deploy: Annotated[
        bool, typer.Option("--for-sw-deploy", help="For a software deploy; otherwise for an install.")
    ] = False,
) -> dict[str, Any]:
    """Return the fields of a request for a strategy, but for the password; null for one that is not given.

    Raises:
        SurroundingsError: An option has not its form or lacks the canary that it needs, or the file of names cannot be
            read or is empty.
    """
    rollout = rollout_options(
        max_failures=max_failures,
        on_budget=on_budget,
        on_prepare_failure=on_prepare_failure,
        ramp_start=ramp_start,
        time_limits=time_limits,
        on_strategy_limit=on_strategy_limit,
    )
    rollout |= canary_options(canary, soak=soak, is_gated=gate, approvers=approver)
    rollout |= {key: value for key, value in {"mode": mode and str(mode), "order": order}.items() if value is not None}
    excluded = {"clouds": exclude or None, "selector": exclude_selector}
    return {
        "type": TYPE,
        "rollout": rollout or None,
        "group": group,
        "clouds": [*(subcloud or ()), *_names_in(from_file)] or None,
        "selector": selector,
        "exclude": excluded if any(excluded.values()) else None,
        "skip-ineligible": skip_ineligible or None,
        "release": release,
        "subcloud-apply-type": "serial" if serial else None,
        "max-parallel-subclouds": max_parallel,
        "stop-on-failure": "true" if stop_on_failure else None,
        "force": "true" if force else None,
        "for_sw_deploy": "true" if for_sw_deploy else None,
    }


def _names_in(file: Path | None) -> Sequence[str]:
    """Return the names in a file, one a line; empty lines and what follows a # are passed over."""
    if file is None:
        return ()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SurroundingsError(f"{file} cannot be read: {reason}.") from None
    names = [name for line in text.splitlines() if (name := line.partition("#")[0].strip())]
    if not names:
        raise SurroundingsError(f"{file} names no site.")
    return names
