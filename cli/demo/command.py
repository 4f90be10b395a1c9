"""`prestager demo`: makes a fleet, prestages it, and checks each site's end against the expected one."""

from __future__ import annotations

import sys
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from cli.demo.directory import Workplace, directory_sites, environment, require_ssh, ssh_sites
from cli.demo.progress import output, progress_view
from cli.demo.service import run_command, running_service
from client.api_client import ApiClient
from client.contexts import ServerContext
from client.output import OutputFormat, ShownField, print_records, say
from client.strategy_queries import ACTIVE, TYPE
from demo.sites_content import QUICK_SITE_NAMES, SITE_NAMES, DemoOutcome, Expected, build_fleet
from service.controller import ended_in_order
from service.errors import CommandError
from statemachine.rollout import RolloutMode
from statemachine.states import MOVING_STRATEGIES, StepState, StrategyState

_DIRECTORY: Final = Path(__file__).parents[2] / "var" / "demo"
_LOOK_S: Final = 0.5
# Of a service without a setting for it.
_LATER_URL: Final = "http://127.0.0.1:8119"
# Several times what two slow cores need.
_LONGEST_S: Final = 900.0
# A site that is in neither list: its outcome is unknown.
_UNKNOWN: Final = "unknown"
_VERDICT_FIELDS: Final = (
    ShownField(key="name", title="site"),
    ShownField(key="stage", title="stage"),
    ShownField(key="outcome", title="outcome"),
    ShownField(key="instead_of", title="as expected", text=lambda other: f"no: {other}" if other else "yes"),
    ShownField(key="reason", title="reason"),
)


def demo(
    directory: Annotated[
        Path,
        # The same on every machine.
        typer.Option(
            "--dir",
            help="Where everything is made; a former demonstration there is removed.",
            show_default="var/demo beside the program",
        ),
    ] = _DIRECTORY,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Six sites, one for each way in which a site can end: a minute less.")
    ] = False,
    without_ssh: Annotated[
        bool, typer.Option("--without-ssh", help="Take directories as sites, for a machine without ssh.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the service and the sites running for a look around, until Ctrl-C.")
    ] = False,
) -> None:
    """Prestage a made-up fleet of twelve sites on this machine, with real playbooks, and check the outcome.

    Needs no network, no root and no other service, but ssh: the sites are behind SSH servers with a password, on
    addresses of the loopback network, and end with this command. Exits with 0 when every site ended as it must.
    """
    with ended_in_order():
        _demonstrate(
            Workplace(directory.absolute()),
            names=QUICK_SITE_NAMES if quick else SITE_NAMES,
            by_ssh=not without_ssh,
            keep=keep,
        )


def _demonstrate(place: Workplace, *, names: Sequence[str], by_ssh: bool, keep: bool) -> None:
    console = output()
    began = time.monotonic()
    if by_ssh:
        require_ssh()
    place.prepare()
    console.print(f"Making a system controller and {len(names)} sites in {_near(place.root)}", soft_wrap=True)
    with ssh_sites(place.root, names) if by_ssh else directory_sites() as sites:
        console.print(f"  {sites.description}", soft_wrap=True)
        fleet = build_fleet(place.root, reach=sites.reach, names=names)
        settings = place.settings(
            release=fleet.feeds.target, feed_dir=fleet.feeds.root, deploy_dir=fleet.deploy_directory
        )
        place.write_settings(settings)
        console.print("$ prestager up")
        with running_service(environment(settings), place.service_log) as service:
            api = _register(console, place, fleet.inventory, environment(settings), service.url)
            excluded = _start(console, api, sites.password)
            strategy = _watch(console, api)
            verdicts = site_verdicts(fleet.expected, _steps(api), excluded)
            _show_sites(console, verdicts)
            console.print(f"\nThe strategy ended {strategy['state']} after {time.monotonic() - began:.0f} s.")
            faults = _faults(fleet.expected, verdicts, strategy["state"])
            if not faults:
                console.print("\nEvery site and the strategy ended as expected.")
            if keep:
                _invite(console, place, api, by_ssh=by_ssh)
                service.await_end()
    # Where it listens when it is started again.
    options = place.save_context(_LATER_URL)
    if not keep:
        _propose(console, place, verdicts, options)
    if faults:
        raise CommandError(f"The demonstration did not come out as expected; see {place.service_log}.", faults)


def _register(console: Console, place: Workplace, inventory: Path, settings: Mapping[str, str], url: str) -> ApiClient:
    """Make a token and register the fleet, each by its command; return a client of the service."""
    console.print(f"  listens on {url}")
    console.print("$ prestager token create demo --role admin")
    console.print(f"$ prestager subcloud import {_near(inventory)}", soft_wrap=True)
    # Each takes a core for a second.
    with ThreadPoolExecutor() as beside:
        imported = beside.submit(run_command, ["subcloud", "import", str(inventory)], settings)
        token = run_command(["token", "create", "demo", "--role", "admin"], settings)
    place.keep_token(token)
    console.print(f"  {imported.result()}")
    return ApiClient(ServerContext(url=url, token=token, ca_file=None), login=lambda: token, say=say)


def _start(console: Console, api: ApiClient, password: str) -> list[dict[str, str]]:
    """Start a strategy over the whole fleet, and return the sites that it leaves out."""
    console.print("POST /v1.0/sw-update-strategy: prestage every site, the next one of a group when one has ended")
    body = {
        "type": TYPE,
        "sysadmin_password": b64encode(password.encode()).decode(),
        # In stages two cores would wait for the sites of a serial group, one after the other.
        "rollout": {"mode": RolloutMode.WINDOW},
    }
    excluded: list[dict[str, str]] = api.change("POST", ACTIVE, body=body)["excluded-subclouds"]
    console.print('POST /v1.0/sw-update-strategy/actions: {"action": "apply"}')
    api.change("POST", ACTIVE, "actions", body={"action": "apply"})
    console.print("Watch it in a browser, by a link that logs in once:")
    console.print(f"  {api.make_login_link()['url']}\n", soft_wrap=True)
    return excluded


def _faults(expected: Mapping[str, Expected], verdicts: Sequence[SiteVerdict], state: str) -> list[str]:
    faults = [f"{one.name} ended {one.outcome}, expected was {one.instead_of}" for one in verdicts if one.instead_of]
    fault = strategy_fault(expected, state)
    return faults if fault is None else [*faults, fault]


def _watch(console: Console, api: ApiClient) -> dict[str, Any]:
    """Show the strategy until it has ended, and return it."""
    limit = time.monotonic() + _LONGEST_S
    with progress_view(console) as view:
        while time.monotonic() < limit:
            # In this order: a strategy that has ended has no step that still changes.
            strategy: dict[str, Any] = api.read(ACTIVE)
            view.show(_steps(api))
            if strategy["state"] not in MOVING_STRATEGIES:
                return strategy
            time.sleep(_LOOK_S)
    raise CommandError(f"The strategy did not end within {_LONGEST_S:g} s.")


def _steps(api: ApiClient) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = api.read(ACTIVE, "steps")["strategy-steps"]
    return steps


def _show_sites(console: Console, verdicts: Sequence[SiteVerdict]) -> None:
    console.print()
    print_records([asdict(one) for one in verdicts], _VERDICT_FIELDS, OutputFormat.TABLE, "name")


def _propose(console: Console, place: Workplace, verdicts: Sequence[SiteVerdict], options: str) -> None:
    """Print what to try next; `options` name the service to commands over HTTP."""
    told = [one.name for one in verdicts if one.outcome == DemoOutcome.FAILED] or [verdicts[0].name]
    program, log = _program(), _near(place.service_log)
    console.print(f"\nEverything is kept in {_near(place.root)}; the service's log is {log}.", soft_wrap=True)
    console.print("To look around, start the service again, and ask it from another shell:\n")
    for line in (
        f"( . {_near(place.settings_file)} && {program} up )",
        *(
            f"{program} {words}{options}"
            for words in ("status", "strategy problems", f"step log {told[-1]}", "login-link")
        ),
    ):
        console.print(f"  {line}", soft_wrap=True)
    console.print("\nIts sites are stopped. Sites that stay, to work with: docs/quickstart.md")


def _invite(console: Console, place: Workplace, api: ApiClient, *, by_ssh: bool) -> None:
    """Print where to look around while the service stays."""
    options = place.save_context(api.url)
    console.print("\nThe service and its sites stay for a look around. From another shell:\n")
    for words in ("status", "strategy problems", "login-link"):
        console.print(f"  {_program()} {words}{options}", soft_wrap=True)
    if by_ssh:
        console.print(f"  cat {_near(place.password_file)}      # the sites' password, for a retry", soft_wrap=True)
    console.print(
        f"\nThe page is at {api.url}/ui; this link logs a browser in, once, within ten minutes:\n", soft_wrap=True
    )
    console.print(f"  {api.make_login_link()['url']}\n", soft_wrap=True)
    console.print("Ctrl-C stops the service and its sites.")


def _program() -> Path:
    return _near(Path(sys.executable).with_name("prestager"))


def _near(path: Path) -> Path:
    """Return a path as one would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


@dataclass(frozen=True, kw_only=True)
class SiteVerdict:
    """One site at the end."""

    name: str
    # A DemoOutcome, the state of a step that did not end, or `unknown`.
    outcome: str
    # Why, in Prestager's words; empty where there is nothing to say.
    reason: str
    # Number of its batch; None without a step.
    stage: int | None
    # What was expected instead; empty: it is as expected.
    instead_of: str

    @property
    def is_as_expected(self) -> bool:
        """Tell whether the site ended as it had to."""
        return not self.instead_of


def site_verdicts(
    expected: Mapping[str, Expected], steps: Iterable[Mapping[str, Any]], excluded: Iterable[Mapping[str, str]]
) -> list[SiteVerdict]:
    """Return a verdict for every site that was expected or is there, in the order of names."""
    by_name = {step["cloud"]: step for step in steps}
    left_out = {site["name"]: site["reason"] for site in excluded}
    return [
        _verdict(name, expected.get(name), by_name.get(name), left_out.get(name))
        for name in sorted({*expected, *by_name, *left_out})
    ]


def strategy_fault(expected: Mapping[str, Expected], state: str) -> str | None:
    """Return what is wrong with the strategy's own end, None when it is right: one failed site fails it."""
    has_failure = any(site.outcome == DemoOutcome.FAILED for site in expected.values())
    wanted = StrategyState.FAILED if has_failure else StrategyState.COMPLETE
    return None if state == wanted else f"The strategy ended {state}, expected was {wanted}."


def outcome_of(step: Mapping[str, Any]) -> str:
    """Return the outcome of a step: a complete one that has something to say was skipped."""
    if step["state"] == StepState.COMPLETE:
        return DemoOutcome.SKIPPED if step["details"] else DemoOutcome.COMPLETE
    return DemoOutcome.FAILED if step["state"] == StepState.FAILED else str(step["state"])


def _verdict(
    name: str, expected: Expected | None, step: Mapping[str, Any] | None, left_out_because: str | None
) -> SiteVerdict:
    outcome, reason = _UNKNOWN, ""
    if step is not None:
        outcome, reason = outcome_of(step), step["details"]
    elif left_out_because is not None:
        outcome, reason = DemoOutcome.LEFT_OUT, left_out_because
    return SiteVerdict(
        name=name,
        outcome=outcome,
        reason=reason,
        stage=None if step is None else step["stage"],
        instead_of=_difference(expected, outcome, reason),
    )


def _difference(expected: Expected | None, outcome: str, reason: str) -> str:
    if expected is None:
        return "no such site"
    if expected.outcome != outcome or (expected.reason and expected.reason not in reason):
        return f"{expected.outcome}: {expected.reason}" if expected.reason else str(expected.outcome)
    return ""
