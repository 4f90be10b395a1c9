"""`prestager strategy preview`, `create`, `apply`, `pause`, `resume`, `abort`, `cancel`, `delete`, over the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from client.client_command import Invocation, Yes, client_command, taking
from client.create_options import strategy_fields
from client.errors import SurroundingsError
from client.output import OutputFormat, Record, ShownField, print_record, print_records, say
from client.prompts import PasswordFile, confirm, read_password
from client.rollout_options import (
    MaxFailures,
    OnBudgetChoice,
    OnPrepareFailureChoice,
    OnTimeLimitChoice,
    RampStart,
    TimeLimits,
    rollout_options,
)
from client.strategy_queries import ACTIVE, STRATEGY_FIELDS, TYPE, active_strategy, excluded_text
from client.strategy_watch import Apply, ExitOnHold, Timeout, Watch, check_watch, report_strategy
from statemachine.rollout import HoldScope
from statemachine.states import TERMINAL_STEPS, StepState

_ACTIONS: Final = "actions"
# Sites of a stage that a table names.
_NAMED: Final = 10


def _clouds_text(clouds: list[str]) -> str:
    more = f" and {len(clouds) - _NAMED} more" if len(clouds) > _NAMED else ""
    return f"{', '.join(clouds[:_NAMED])}{more}"


def _expected_text(previewed: Record) -> str:
    """Return how long a strategy is likely to take, or why that is not known; an older service says neither."""
    expected, missing = previewed.get("expected"), previewed.get("expected-missing")
    if expected is None:
        return f"not known: {missing}" if missing else ""
    return f"{expected['p50-s'] / 60:.1f} to {expected['p90-s'] / 60:.1f} min"


_PREVIEWED_STAGE: Final = (
    ShownField(key="stage", title="STAGE"),
    ShownField(key="name", title="NAME", is_spare=True),
    ShownField(key="count", title="SITES"),
    ShownField(key="width", title="MOST AT ONCE"),
    ShownField(key="soak-s", title="SOAKS (S)", is_spare=True),
    ShownField(key="gate", title="THEN", is_spare=True),
    ShownField(key="clouds", title="NAMES", text=_clouds_text),
)
_PREVIEWED: Final = (
    ShownField(key="release", title="release"),
    ShownField(key="sites", title="sites"),
    ShownField(key="max-parallel-subclouds", title="most at once"),
    ShownField(key="rollout", title="rollout"),
    ShownField(key="expected", title="likely takes", whole=_expected_text),
    ShownField(key="excluded-subclouds", title="left out", text=excluded_text),
    ShownField(key="plan-digest", title="plan digest"),
)


@client_command
@taking(strategy_fields)
def preview(invocation: Invocation, fields: Record) -> None:
    """Show the strategy that `create` would make with these options: its stages, and what is against it.

    Nothing is created, and no password is needed. The exit code is 1 where it would be refused. Give its plan digest to
    `create --plan-digest` to have the same plan or none.
    """
    found = invocation.api.change("POST", ACTIVE, "preview", body=fields)
    for warning in found["warnings"]:
        say(f"Warning: {warning}")
    for refusal in found["refusals"]:
        say(f"It would be refused: {refusal}")
    print_record(found, _PREVIEWED, invocation.form, "plan-digest")
    if invocation.form in {OutputFormat.TABLE, OutputFormat.WIDE}:
        typer.echo("")
        print_records(found["stages"], _PREVIEWED_STAGE, invocation.form, "stage")
    if found["refusals"]:
        raise typer.Exit(1)


@client_command
@taking(strategy_fields)
def create(  # noqa: PLR0913, PLR0917 - options of the shell
    invocation: Invocation,
    fields: Record,
    plan_digest: Annotated[
        str | None, typer.Option(help="That of a preview: create the same plan, or nothing.")
    ] = None,
    password_file: PasswordFile = None,
    apply: Apply = False,  # noqa: FBT002 - an option of the shell
    watch: Watch = False,  # noqa: FBT002 - an option of the shell
    timeout: Timeout = None,
    exit_on_hold: ExitOnHold = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Create a strategy: which sites get the release, and how many at once. Nothing runs before it is applied.

    Without --group, --subcloud, --from-file and --selector all sites are meant that can be prestaged. The password of
    the sites is asked for twice on a terminal, and read from standard input elsewhere.
    """
    check_watch(watch=watch, apply=apply)
    body = {**fields, "plan-digest": plan_digest, "sysadmin_password": read_password(password_file)}
    created = invocation.api.change("POST", ACTIVE, body=body, type=TYPE)
    say_created(created, f"Strategy {created['id']} is created.", apply=apply)
    if apply:
        _start(invocation)
    report_strategy(invocation, created["id"], watch=watch, timeout_s=timeout, exit_on_hold=exit_on_hold)


@client_command
def change(  # noqa: PLR0913, PLR0917 - options of the shell
    invocation: Invocation,
    max_parallel: Annotated[
        int | None, typer.Option(min=1, help="Most sites at once; of a strategy with a sliding window.")
    ] = None,
    max_failures: MaxFailures = None,
    on_budget: OnBudgetChoice = None,
    on_prepare_failure: OnPrepareFailureChoice = None,
    ramp_start: RampStart = None,
    time_limits: TimeLimits = None,
    on_strategy_limit: OnTimeLimitChoice = None,
) -> None:
    """Change width, failure budget, slow start or time limits, before the strategy is applied or while it runs.

    What is not given stays. A smaller width starts no more sites until enough have ended.
    """
    rollout = rollout_options(
        max_failures=max_failures,
        on_budget=on_budget,
        on_prepare_failure=on_prepare_failure,
        ramp_start=ramp_start,
        time_limits=time_limits,
        on_strategy_limit=on_strategy_limit,
    )
    width = {} if max_parallel is None else {"max-parallel-subclouds": max_parallel}
    body = {**width, **({"rollout": rollout} if rollout else {})}
    if not body:
        raise SurroundingsError("Nothing to change: give at least one option. See: prestager strategy set --help")
    changed = invocation.api.change("PATCH", ACTIVE, body=body, type=TYPE)
    say(f"Strategy {changed['id']} is changed.")
    report_strategy(invocation, changed["id"])


@client_command
def apply(
    invocation: Invocation,
    watch: Watch = False,  # noqa: FBT002 - an option of the shell
    timeout: Timeout = None,
    exit_on_hold: ExitOnHold = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Start the strategy."""
    started = _start(invocation)
    report_strategy(invocation, started["id"], watch=watch, timeout_s=timeout, exit_on_hold=exit_on_hold)


@client_command
def abort(
    invocation: Invocation,
    yes: Yes = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Start no more sites; those that run go on to their end."""
    strategy = active_strategy(invocation.api)
    waiting = strategy["steps"].get("initial", 0)
    question = f"Abort {_named(strategy)}? {_counted(waiting)} not started will be left as before; running ones go on."
    confirm(question, is_given=yes)
    aborted = act(invocation, "abort")
    say(f"Strategy {aborted['id']} starts no more sites; those that run go on to their end.")
    report_strategy(invocation, aborted["id"])


@client_command
def pause(
    invocation: Invocation,
    scope: Annotated[
        HoldScope,
        typer.Option(help="starts: no further site starts; phases: no site begins its next phase either."),
    ] = HoldScope.STARTS,
    reason: Annotated[str | None, typer.Option(help="Shown to all who look at the strategy.")] = None,
) -> None:
    """Hold the strategy: no further site starts until it is resumed. What runs now goes on.

    A repeat changes nothing; with `--scope phases` it widens the hold.
    """
    paused = act(invocation, "pause", {"scope": str(scope), "reason": reason})
    say(f"Strategy {paused['id']} is held. Let it go on: prestager strategy resume")
    report_strategy(invocation, paused["id"])


@client_command
def resume(  # noqa: PLR0913, PLR0917 - options of the shell
    invocation: Invocation,
    allow_failures: Annotated[
        int | None, typer.Option(min=0, help="Failed sites that are borne beside those that have failed now.")
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(help="A new password of the sites in place of the one that is kept; - is standard input."),
    ] = None,
    watch: Watch = False,  # noqa: FBT002 - an option of the shell
    timeout: Timeout = None,
    exit_on_hold: ExitOnHold = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """End the holds of the strategy, so that it goes on; holds of single sites stay."""
    password = None if password_file is None else read_password(password_file)
    resumed = act(invocation, "resume", {"allow-failures": allow_failures, "sysadmin_password": password})
    say(f"Strategy {resumed['id']} goes on.{' The password was replaced.' if resumed['secret-replaced'] else ''}")
    report_strategy(invocation, resumed["id"], watch=watch, timeout_s=timeout, exit_on_hold=exit_on_hold)


@client_command
def cancel(
    invocation: Invocation,
    grace: Annotated[
        int | None,
        typer.Option(help="Seconds from the request to end to the end by force; 30 where it is not given."),
    ] = None,
    yes: Yes = False,  # noqa: FBT002 - an option of the shell
    watch: Watch = False,  # noqa: FBT002 - an option of the shell
    timeout: Timeout = None,
) -> None:
    """Abort the strategy and stop the sites that are worked on, too. It turns an abort that goes on into this.

    A site that is stopped while its content is brought there has failed to be prestaged until the next prestage.
    """
    strategy = active_strategy(invocation.api)
    counts = strategy["steps"]
    waiting = counts.get(StepState.INITIAL, 0)
    running = sum(counts.values()) - waiting - sum(counts.get(state, 0) for state in TERMINAL_STEPS)
    question = f"Cancel {_named(strategy)}? {_counted(running)} being worked on will be stopped, {waiting} not started."
    confirm(question, is_given=yes)
    cancelled = act(invocation, "cancel", {"grace-s": grace})
    say(f"Strategy {cancelled['id']} is cancelled; its playbooks are being stopped.")
    report_strategy(invocation, cancelled["id"], watch=watch, timeout_s=timeout)


@client_command
def delete(
    invocation: Invocation,
    yes: Yes = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Make the strategy history, so that another one can be created. It must have ended, or never been applied."""
    strategy = active_strategy(invocation.api)
    confirm(f"Delete {_named(strategy)}? Its history is kept.", is_given=yes)
    deleted = invocation.api.change("DELETE", ACTIVE, type=TYPE)
    say(f"Strategy {deleted['id']} is history; see: prestager strategy show {deleted['id']}")
    print_record(strategy | deleted, STRATEGY_FIELDS, invocation.form, "id")


def _start(invocation: Invocation) -> Record:
    started = act(invocation, "apply")
    say(f"Strategy {started['id']} is applied; follow it: prestager strategy watch")
    return started


def say_created(created: Record, sentence: str, *, apply: bool) -> None:
    """Print what the service has to say of a strategy that was created, and how to start it unless it is started."""
    if created.get("info_message"):
        say(created["info_message"])
    say(f"{sentence}{'' if apply else ' Start it: prestager strategy apply'}")


def act(invocation: Invocation, action: str, options: Record | None = None) -> dict[str, Any]:
    """Send an action on the strategy with its options, None where one is not given; return the answer.

    Raises:
        RefusedError: It was refused; nothing was changed.
        UnreachableError: There was no answer for a minute.
    """
    body = {"action": action, **(options or {})}
    answer: dict[str, Any] = invocation.api.change("POST", ACTIVE, _ACTIONS, body=body, type=TYPE)
    return answer


def _named(strategy: Record) -> str:
    """Return a strategy with its release and size, for questions."""
    release = strategy["extra-args"]["prestage-software-version"]
    sites = _counted(sum(strategy["steps"].values()))
    return f"strategy {strategy['id']} ({release} on {sites}, {strategy['state']})"


def _counted(number: int) -> str:
    """Return a number of sites in words."""
    return f"{number} site" if number == 1 else f"{number} sites"
