"""`prestager step …`: one site of the strategy, by its name: show it, hold it, start it first, stop it, retry it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from client.client_command import Invocation, Yes, client_command
from client.errors import SurroundingsError
from client.output import Record, ShownField, print_record, print_records, say
from client.prompts import confirm
from client.service_commands import print_log
from client.strategy_queries import ACTIVE, STEP_FIELDS, TYPE, hold_sentence, moment_text
from statemachine.states import PHASES

# mypy reads the members of a literal alone.
PhaseWord = StrEnum("PhaseWord", {phase: phase for phase in PHASES})  # type: ignore[misc]
Site = Annotated[str, typer.Argument(metavar="SUBCLOUD", help="Name of the site.")]
_FIELDS = (
    *(field for field in STEP_FIELDS if field.key != "held"),
    ShownField(key="outcome", title="outcome"),
    ShownField(key="class", title="class"),
    ShownField(key="problem", title="problem"),
    ShownField(key="series", title="series", is_wide=True),
    ShownField(key="held", title="held by", text=hold_sentence),
    ShownField(key="cancel-requested-by", title="cancelled by"),
)
_EXPLANATION_FIELDS = (
    ShownField(key="cloud", title="site"),
    ShownField(key="state", title="state"),
    ShownField(key="explanation", title="why"),
)
_RUN_FIELDS = (
    ShownField(key="id", title="run"),
    ShownField(key="phase", title="phase"),
    ShownField(key="attempt", title="attempt"),
    ShownField(key="state", title="state"),
    ShownField(key="outcome", title="outcome"),
    ShownField(key="class", title="class", is_wide=True),
    ShownField(key="worker", title="worker", is_wide=True),
    ShownField(key="started-at", title="started (UTC)", is_spare=True, text=moment_text),
    ShownField(key="finished-at", title="finished (UTC)", is_wide=True, text=moment_text),
    ShownField(key="details", title="details"),
)
_MOST_RUNS = 1000


@client_command
def show(invocation: Invocation, subcloud: Site) -> None:
    """Show one site of the strategy: its state, why it failed or was skipped, and whether it is held."""
    _report(invocation, invocation.api.read(ACTIVE, "steps", subcloud, type=TYPE))


@client_command
def explain(invocation: Invocation, subcloud: Site) -> None:
    """Say why one site is where it is: its hold, stage, place, preparation, worker or failure."""
    found = invocation.api.read(ACTIVE, "steps", subcloud, "explain")
    print_record(found, _EXPLANATION_FIELDS, invocation.form, "cloud")


@client_command
def log(
    invocation: Invocation,
    subcloud: Annotated[str | None, typer.Argument(metavar="SUBCLOUD", help="Name of the site.")] = None,
    follow: Annotated[  # noqa: FBT002 - an option of the shell
        bool, typer.Option("--follow", "-f", help="Go on until the run, the phase or the site has ended.")
    ] = False,
    phase: Annotated[
        PhaseWord | None,
        typer.Option(
            metavar="PHASE",
            help=f"Only the newest run of this phase, otherwise all phases of the site. There are {', '.join(PHASES)}.",
        ),
    ] = None,
    run: Annotated[
        int | None, typer.Option(min=1, help="This run instead of a site: its id, as `prestager step runs` lists it.")
    ] = None,
) -> None:
    """Print what the playbooks of one site printed: of the strategy, of an earlier one, or of a prestage by itself.

    With --run it is the output of one run, of any site and strategy, as long as it is kept.
    """
    if (subcloud is None) is (run is None) or (run is not None and phase is not None):
        raise SurroundingsError("Name one site, perhaps with --phase, or one run with --run.")
    if run is not None:
        print_log(invocation.api, "runs", str(run), "log", follow=follow)
    elif subcloud is not None:
        print_log(invocation.api, ACTIVE, "steps", subcloud, "log", phase=phase, follow=follow)


@client_command
def runs(invocation: Invocation, subcloud: Site) -> None:
    """List the runs of one site in the strategy: every try of every phase, with its id and how it ended."""
    step = invocation.api.read(ACTIVE, "steps", subcloud, type=TYPE)
    found = invocation.api.read("steps", str(step["id"]), "runs", limit=_MOST_RUNS)["runs"]
    print_records(found, _RUN_FIELDS, invocation.form, "id")


@client_command
def hold(
    invocation: Invocation,
    subcloud: Site,
    reason: Annotated[str | None, typer.Option(help="Shown to all who look at the site.")] = None,
) -> None:
    """Hold one site: it begins no further phase until it is resumed; the others go on."""
    held = _change(invocation, subcloud, {"held": True, "reason": reason})
    say(f"{subcloud} is held. Let it go on: prestager step resume {subcloud}")
    _report(invocation, held)


@client_command
def resume(invocation: Invocation, subcloud: Site) -> None:
    """End the hold of one site."""
    resumed = _change(invocation, subcloud, {"held": False})
    say(f"{subcloud} is not held by itself any more.")
    _report(invocation, resumed)


@client_command
def first(invocation: Invocation, subcloud: Site) -> None:
    """Start one site before all that have not started; in a strategy with a sliding window."""
    moved = _change(invocation, subcloud, {"first": True})
    say(f"{subcloud} is the next to start.")
    _report(invocation, moved)


@client_command
def cancel(
    invocation: Invocation,
    subcloud: Site,
    grace: Annotated[
        int | None,
        typer.Option(help="Seconds from the request to end to the end by force; 30 where it is not given."),
    ] = None,
    yes: Yes = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Stop the work on one site, of the strategy or by itself; one that has ended stays as it is."""
    confirm(f"Cancel the work on {subcloud}? What is not staged there yet will not be.", is_given=yes)
    cancelled = invocation.api.change("POST", ACTIVE, "steps", subcloud, "cancel", body={"grace-s": grace})
    say(f"{subcloud} {_cancelled_text(cancelled)}.")
    _report(invocation, cancelled)


@client_command
def retry(invocation: Invocation, subcloud: Site) -> None:
    """Begin the work on one site anew that failed or was cancelled, while its strategy goes on."""
    retried = invocation.api.change("POST", ACTIVE, "steps", subcloud, "retry")
    say(f"{subcloud} is retried.")
    _report(invocation, retried)


def _cancelled_text(step: Record) -> str:
    if step["already-ended"]:
        return "had ended already"
    if step["started-at"] is None:
        return "is cancelled before it started"
    return "is cancelled; what runs there is being stopped"


def _change(invocation: Invocation, subcloud: str, body: Record) -> dict[str, Any]:
    changed: dict[str, Any] = invocation.api.change("PATCH", ACTIVE, "steps", subcloud, body=body, type=TYPE)
    return changed


def _report(invocation: Invocation, step: Record) -> None:
    print_record(step, _FIELDS, invocation.form, "cloud")
