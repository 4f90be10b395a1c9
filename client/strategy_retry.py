"""`prestager strategy retry`: a new strategy for the sites of an earlier one that did not succeed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from client.client_command import Invocation, client_command
from client.prompts import PasswordFile, read_password
from client.strategy_commands import say_created
from client.strategy_queries import HISTORY, ProblemId, active_strategy
from client.strategy_watch import Apply, ExitOnHold, Timeout, Watch, check_watch, report_strategy


class ResumePoint(StrEnum):
    """Phase at which the sites of a retry begin."""

    FAILED_PHASE = "failed-phase"
    START = "start"


@client_command
def retry(  # noqa: PLR0913, PLR0917 - options of the shell
    invocation: Invocation,
    strategy: Annotated[
        int | None, typer.Argument(metavar="ID", help="The strategy to retry; without it the active one.")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="Sites that are failed, aborted, cancelled or not-started (all of these by default), skipped or"
            " excluded; may be repeated."
        ),
    ] = None,
    subcloud: Annotated[
        list[str] | None, typer.Option(help="Only this one of them: name or id; may be repeated.")
    ] = None,
    problem: ProblemId = None,
    resume_from: Annotated[
        ResumePoint,
        typer.Option(
            "--from", help="failed-phase: sites pass what an earlier run has proved to be staged; start: none does."
        ),
    ] = ResumePoint.FAILED_PHASE,
    max_parallel: Annotated[
        int | None, typer.Option(min=1, help="Most sites at once; otherwise as in the earlier strategy.")
    ] = None,
    password_file: PasswordFile = None,
    apply: Apply = False,  # noqa: FBT002 - an option of the shell
    watch: Watch = False,  # noqa: FBT002 - an option of the shell
    timeout: Timeout = None,
    exit_on_hold: ExitOnHold = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Create a strategy for sites of an earlier one that has ended, with the options of that.

    The earlier strategy becomes history. The password of the sites is asked for again, for it was wiped.
    """
    check_watch(watch=watch, apply=apply)
    earlier = active_strategy(invocation.api)["id"] if strategy is None else strategy
    body: dict[str, Any] = {
        "states": state or None,
        "clouds": subcloud or None,
        "problem": problem,
        "from": str(resume_from),
        "max-parallel-subclouds": max_parallel,
        "apply": apply,
        "sysadmin_password": read_password(password_file),
    }
    created = invocation.api.change("POST", HISTORY, str(earlier), "retry", body=body)
    say_created(created, f"Strategy {created['id']} retries strategy {earlier}.", apply=apply)
    report_strategy(invocation, created["id"], watch=watch, timeout_s=timeout, exit_on_hold=exit_on_hold)
