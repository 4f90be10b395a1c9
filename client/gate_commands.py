"""`prestager strategy approve` and `deny`: decide what comes after a stage of the rollout, over the API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from client.client_command import Invocation, Yes, client_command
from client.errors import RefusedError
from client.output import Record, say
from client.prompts import confirm
from client.strategy_commands import act
from client.strategy_queries import active_strategy
from client.strategy_watch import report_strategy
from statemachine.rollout import HoldKind

Stage = Annotated[
    str | None, typer.Option(help="Name of the stage that ended, or is to end; otherwise the one that waits.")
]
Note = Annotated[str | None, typer.Option(help="Shown to all who look at the strategy.")]


@client_command
def approve(invocation: Invocation, stage: Stage = None, note: Note = None) -> None:
    """Let the sites after a stage start: at once if they wait for it, else when the stage has ended and soaked.

    The creator of the strategy cannot approve a gate that was asked for; with approvers only they can. A repeat changes
    nothing.
    """
    name = stage or _waiting_stage(active_strategy(invocation.api))
    approved = act(invocation, "approve", {"stage": name, "note": note})
    is_soaking = any(hold["kind"] == HoldKind.SOAK for hold in approved["holds"])
    say(f"Stage {name} is approved.{' Its soak time goes on.' if is_soaking else ''}")
    report_strategy(invocation, approved["id"])


@client_command
def deny(
    invocation: Invocation,
    stage: Stage = None,
    note: Note = None,
    yes: Yes = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Abort the strategy instead of going on after a stage: no further site starts; those that run go on."""
    strategy = active_strategy(invocation.api)
    name = stage or _waiting_stage(strategy)
    waiting = strategy["progress"]["not-started"]
    confirm(
        f"Deny what comes after stage {name}, and abort strategy {strategy['id']}? {waiting} not started will be left"
        " as before.",
        is_given=yes,
    )
    denied = act(invocation, "deny", {"stage": name, "note": note})
    say(f"Stage {name} is denied; strategy {denied['id']} starts no more sites.")
    report_strategy(invocation, denied["id"])


def _waiting_stage(strategy: Record) -> str:
    """Return the name of the stage whose gate holds the strategy.

    Raises:
        RefusedError: None does; the stages are named.
    """
    gates = [hold["stage"] for hold in strategy["holds"] if hold["kind"] == HoldKind.GATE]
    stages: list[dict[str, Any]] = strategy["rollout"].get("stages") or []
    for one in stages:
        if one["stage"] in gates:
            return str(one["name"])
    gated = ", ".join(str(one["name"]) for one in stages if one.get("gate") and one["stage"])
    hint = f" Stages with a gate: {gated}; name one with --stage to decide before its end." if gated else ""
    raise RefusedError(f"Nothing waits for an approval.{hint}")
