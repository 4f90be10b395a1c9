"""`prestager strategy pause`, `resume` and `cancel`: hold it, let it go on, stop it with its playbooks."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Annotated

import typer

from client.client_command import Invocation, Yes, client_command
from client.output import say
from client.prompts import confirm, read_password
from client.strategy_commands import act, counted, named, report
from client.strategy_progress import ExitOnHold, Timeout, Watch
from client.strategy_queries import active_strategy
from statemachine.rollout import HoldScope
from statemachine.states import StepState

_ENDED = (StepState.COMPLETE, StepState.FAILED, StepState.ABORTED)


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
    report(invocation, paused)


@client_command
def resume(
    invocation: Invocation,
    password_file: Annotated[
        Path | None,
        typer.Option(help="A new password of the sites in place of the one that is kept; - is standard input."),
    ] = None,
    watch: Watch = False,  # noqa: FBT002 - an option of the shell
    timeout: Timeout = None,
    exit_on_hold: ExitOnHold = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """End the holds of the strategy, so that it goes on; holds of single sites stay."""
    password = None if password_file is None else b64encode(read_password(password_file).encode()).decode()
    resumed = act(invocation, "resume", {"sysadmin_password": password})
    say(f"Strategy {resumed['id']} goes on.{' The password was replaced.' if resumed['secret-replaced'] else ''}")
    report(invocation, resumed, watch=watch, timeout=timeout, exit_on_hold=exit_on_hold)


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
    running = sum(counts.values()) - waiting - sum(counts.get(state, 0) for state in _ENDED)
    question = f"Cancel {named(strategy)}? {counted(running)} being worked on will be stopped, {waiting} not started."
    confirm(question, is_given=yes)
    cancelled = act(invocation, "cancel", {"grace-s": grace})
    say(f"Strategy {cancelled['id']} is cancelled; its playbooks are being stopped.")
    report(invocation, cancelled, watch=watch, timeout=timeout)
