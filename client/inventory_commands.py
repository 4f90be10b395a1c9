"""`prestager subcloud list`, `set`, `prestage`, `unstage`, `labels` … and `prestager group`, over the API."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from client.api_client import ApiClient
from client.client_command import Invocation, Yes, client_command
from client.errors import ExitCode, RefusedError, SurroundingsError
from client.output import OutputFormat, Record, ShownField, print_record, print_records, say
from client.prompts import PasswordFile, confirm, read_password
from client.strategy_queries import FailureClasses, ProblemId, StepStates, given_filters, moment_text
from statemachine.rollout import StepOutcome
from statemachine.states import ApplyType

_SUBCLOUDS: Final = "subclouds"
GROUPS: Final = "subcloud-groups"
# Sites that one answer has at most.
_PAGE: Final = 1000
# Between two looks at a removal, in seconds.
_LOOK_EVERY_S: Final = 1.0

Site = Annotated[str, typer.Argument(metavar="SUBCLOUD", help="Name or id of the site.")]
GroupName = Annotated[str, typer.Argument(metavar="GROUP", help="Name or id of the group.")]


def _labels_text(labels: Record) -> str:
    return ", ".join(f"{key}={value}" if value else key for key, value in labels.items())


_FIELDS: Final = (
    ShownField(key="name", title="site"),
    ShownField(key="labels", title="labels", text=_labels_text),
)


_SITES: Final = (
    ShownField(key="name", title="SITE"),
    ShownField(key="group_id", title="GROUP ID", is_wide=True),
    ShownField(key="software-version", title="RUNS"),
    ShownField(key="management-state", title="MANAGED"),
    ShownField(key="availability-status", title="STATUS"),
    ShownField(key="prestage-status", title="PRESTAGE"),
    ShownField(key="prestage-versions", title="STAGED", is_spare=True),
    ShownField(key="management-alarms", title="ALARMS", is_wide=True),
    ShownField(key="labels", title="LABELS", text=_labels_text, is_wide=True),
    ShownField(key="error-description", title="ERROR", text=lambda text: "" if text == "No errors present" else text),
)
_PRESTAGES: Final = (
    ShownField(key="id", title="ID"),
    ShownField(key="cloud", title="SITE"),
    ShownField(key="type", title="TYPE"),
    ShownField(key="release", title="RELEASE"),
    ShownField(key="state", title="STATE"),
    ShownField(key="outcome", title="OUTCOME", is_wide=True),
    ShownField(key="class", title="CLASS", is_wide=True),
    ShownField(key="problem", title="PROBLEM", is_wide=True),
    ShownField(key="requested-by", title="BY"),
    ShownField(key="created-at", title="CREATED (UTC)", is_spare=True, text=moment_text),
    ShownField(key="finished-at", title="FINISHED (UTC)", is_spare=True, text=moment_text),
    ShownField(key="duration-s", title="SECONDS", is_wide=True),
    ShownField(key="runs", title="RUNS", is_wide=True),
    ShownField(key="details", title="DETAILS"),
)
_GROUP_FIELDS: Final = (
    ShownField(key="name", title="GROUP"),
    ShownField(key="id", title="ID", is_wide=True),
    ShownField(key="subcloud_count", title="SITES"),
    ShownField(key="update_apply_type", title="APPLY TYPE"),
    ShownField(key="max_parallel_subclouds", title="MOST AT ONCE"),
    ShownField(key="rollout", title="ROLLOUT", is_wide=True),
    ShownField(key="created-at", title="CREATED (UTC)", is_wide=True, text=moment_text),
    ShownField(key="description", title="DESCRIPTION"),
)


@client_command
def list_sites(  # noqa: PLR0913, PLR0917 - options of the shell
    invocation: Invocation,
    group: Annotated[str | None, typer.Option(help="Only sites of this group: name or id.")] = None,
    subcloud: Annotated[
        str | None, typer.Option(help="Only sites of this name; * stands for any text, ? for one character.")
    ] = None,
    selector: Annotated[str | None, typer.Option(help="Only sites with these labels: region=eu,!old.")] = None,
    state: StepStates = None,
    outcome: Annotated[list[StepOutcome] | None, typer.Option(help="Only sites whose step ended so.")] = None,
    failure_class: FailureClasses = None,
    problem: ProblemId = None,
) -> None:
    """List the sites: release, state, what is staged there, and what went wrong."""
    given = given_filters(
        {
            "group": group,
            "cloud": subcloud,
            "selector": selector,
            "state": state,
            "outcome": outcome,
            "class": failure_class,
            "problem": problem,
        }
    )
    print_records(read_sites(invocation.api, **given), _SITES, invocation.form, "name")


def read_sites(api: ApiClient, **filters: str | int) -> list[Record]:
    """Return the sites that filters of the API leave, in the order of ids."""
    found: list[Record] = api.read(_SUBCLOUDS, **filters, limit=_PAGE)["subclouds"]
    while len(found) % _PAGE == 0 and found:
        page = api.read(_SUBCLOUDS, **filters, limit=_PAGE, marker=found[-1]["id"])["subclouds"]
        if not page:
            break
        found += page
    return found


@client_command
def prestage(  # noqa: PLR0913, PLR0917 - options of the shell
    invocation: Invocation,
    subcloud: Site,
    release: Annotated[
        str | None, typer.Option(help="Release to stage (MM.mm); the default is the system controller's.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Prestage in spite of alarms that affect management.")] = False,  # noqa: FBT002 - an option of the shell
    for_sw_deploy: Annotated[  # noqa: FBT002 - an option of the shell
        bool, typer.Option("--for-sw-deploy", help="For a software deploy; otherwise for an install.")
    ] = False,
    password_file: PasswordFile = None,
) -> None:
    """Stage a release on one site at once, without a strategy."""
    body = {
        "release": release,
        "force": "true" if force else None,
        "for_sw_deploy": "true" if for_sw_deploy else None,
        "sysadmin_password": read_password(password_file),
    }
    begun = invocation.api.change("PATCH", _SUBCLOUDS, subcloud, "prestage", body=body)
    if begun.get("info_message"):
        say(begun["info_message"])
    say(
        f"{begun['name']} is being prestaged with {begun['prestage-software-version']}; follow it:"
        f" prestager step log -f {begun['name']}"
    )
    print_records([begun], _SITES, invocation.form, "name")


@client_command
def unstage(
    invocation: Invocation,
    subcloud: Site,
    release: Annotated[str, typer.Option(help="The release to remove, as MM.mm.")],
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return when the removal is under way.")] = False,  # noqa: FBT002 - an option of the shell
    password_file: PasswordFile = None,
) -> None:
    """Remove a staged release from a site: what Prestager's playbooks put there, never the release that it runs.

    A worker of the running service does the work, and the command waits for its end. A repeat does no harm.
    """
    body = {"release": release, "sysadmin_password": read_password(password_file)}
    begun = invocation.api.change("POST", _SUBCLOUDS, subcloud, "unstage", body=body)
    name, number = begun["name"], begun["step-id"]
    say(f"The removal of {release} from {name} is under way; its log: prestager step log -f {name}")
    step = _removal(invocation.api, name, number)
    if no_wait:
        print_record(step, _PRESTAGES, invocation.form, "id")
        return
    say("Ctrl-C ends the waiting, not the removal.")
    while step["finished-at"] is None:
        time.sleep(_LOOK_EVERY_S)
        before, step = step, _removal(invocation.api, name, number)
        if step["state"] != before["state"]:
            say(f"{name}: {step['state']}")
    # The reason of a failure is in the sentence below it, whatever the form.
    fields = [field for field in _PRESTAGES if field.key != "details" or invocation.form is not OutputFormat.TABLE]
    print_record(step, fields, invocation.form, "id")
    if step["outcome"] != StepOutcome.COMPLETE:
        say(f"{release} may still be staged on {name}: {step['details']}")
        raise typer.Exit(ExitCode.FAILURES if step["outcome"] == StepOutcome.FAILED else ExitCode.ABORTED)
    if release in _removed(invocation.api, number):
        say(f"{release} is not staged on {name} any more.")
    else:
        say(f"Nothing was removed: Prestager's playbooks have nothing of {release} on {name}.")


def _removal(api: ApiClient, name: str, number: int) -> Record:
    """Return a step without a strategy by its id, over a restart of the service too."""
    found = api.read_over_restart("prestages", cloud=name, limit=_PAGE, say=say)["prestages"]
    step: Record | None = next((one for one in found if one["id"] == number), None)
    if step is None:
        raise RefusedError(f"{name} was removed meanwhile, and nothing is known of the removal of its release.")
    return step


def _removed(api: ApiClient, number: int) -> list[str]:
    """Return the releases that a removal removed: none where its playbook found nothing of ours."""
    runs = api.read("steps", str(number), "runs", limit=_PAGE)["runs"]
    return [release for run in runs for release in run["removed-releases"] or ()]


@client_command
def forget_staged(
    invocation: Invocation,
    subcloud: Site,
    release: Annotated[str, typer.Option(help="The release that may not be there, as MM.mm.")],
) -> None:
    """Show a release no longer as staged on a site, as after a restore of the site: nothing is removed there.

    The next prestage finds out what is there, and relies on nothing that earlier runs have brought.
    """
    body = {"release": release, "verdict": "unknown"}
    changed = invocation.api.change("POST", _SUBCLOUDS, subcloud, "staged", body=body)
    say(f"{release} is not shown as staged on {changed['name']}; its next prestage finds out what is there.")
    print_record(changed, _SITES, invocation.form, "name")


@client_command
def set_site(
    invocation: Invocation,
    subcloud: Site,
    group: Annotated[str | None, typer.Option(help="Group that it belongs to from now on: name or id.")] = None,
    description: Annotated[str | None, typer.Option(help="Shown to all who look at the site.")] = None,
    location: Annotated[str | None, typer.Option(help="Where it is.")] = None,
) -> None:
    """Put a site into another group, or change its description or location."""
    body = {"group_id": group, "description": description, "location": location}
    _require_change(body)
    changed = invocation.api.change("PATCH", _SUBCLOUDS, subcloud, body=body)
    say(f"{changed['name']} is changed; strategies that are created from now on follow it.")
    print_records([changed], _SITES, invocation.form, "name")


@client_command
def list_prestages(
    invocation: Invocation,
    subcloud: Annotated[
        str | None, typer.Option(help="Only sites of this name; * stands for any text, ? for one character.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=_PAGE, help="How many at most.")] = 20,
) -> None:
    """List prestages of single sites without a strategy, and removals, newest first: who asked, and how they ended."""
    found = invocation.api.read("prestages", **given_filters({"cloud": subcloud}), limit=limit)["prestages"]
    print_records(found, _PRESTAGES, invocation.form, "id")


@client_command
def list_groups(invocation: Invocation) -> None:
    """List the groups of sites: how many sites each has, and how strategies go through them."""
    print_records(invocation.api.read(GROUPS)["subcloud_groups"], _GROUP_FIELDS, invocation.form, "name")


@client_command
def show_group(invocation: Invocation, group: GroupName) -> None:
    """Show a group of sites and its options for strategies."""
    print_record(_counted(invocation, invocation.api.read(GROUPS, group)), _GROUP_FIELDS, invocation.form, "name")


ApplyTypeChoice = Annotated[
    ApplyType | None,
    typer.Option("--apply-type", help="Whether strategies go through its sites in parallel or one by one."),
]
MostAtOnce = Annotated[int | None, typer.Option("--max-parallel", min=1, help="Most of its sites at once.")]


@client_command
def create_group(
    invocation: Invocation,
    group: Annotated[str, typer.Argument(metavar="GROUP", help="Name of the new group.")],
    description: Annotated[str, typer.Option(help="Shown to all who look at the group.")],
    apply_type: ApplyTypeChoice = None,
    max_parallel: MostAtOnce = None,
) -> None:
    """Create a group of sites, which has none yet."""
    body = _group_body(apply_type, max_parallel, description, group)
    created = invocation.api.change("POST", GROUPS, body=body)
    say(f"Group {created['name']} is created.")
    print_record(_counted(invocation, created), _GROUP_FIELDS, invocation.form, "name")


@client_command
def delete_group(
    invocation: Invocation,
    group: GroupName,
    yes: Yes = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Delete a group that has no site."""
    found = invocation.api.read(GROUPS, group)
    confirm(f"Delete group {found['name']}?", is_given=yes)
    invocation.api.change("DELETE", GROUPS, str(found["id"]))
    say(f"Group {found['name']} is deleted.")


@client_command
def set_group(  # noqa: PLR0913, PLR0917 - options of the shell
    invocation: Invocation,
    group: GroupName,
    apply_type: ApplyTypeChoice = None,
    max_parallel: MostAtOnce = None,
    description: Annotated[str | None, typer.Option(help="Shown to all who look at the group.")] = None,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    yes: Yes = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Change a group of sites: how strategies go through it, its description or its name. It asks before a new name."""
    body = _group_body(apply_type, max_parallel, description, name)
    _require_change(body)
    if name is not None:
        confirm(f"Rename group {group} to {name}? Scripts that give its old name will not find it.", is_given=yes)
    changed = invocation.api.change("PATCH", GROUPS, group, body=body)
    say(f"Group {changed['name']} is changed; strategies that are created from now on follow it.")
    print_record(_counted(invocation, changed), _GROUP_FIELDS, invocation.form, "name")


def _require_change(body: Record) -> None:
    if all(value is None for value in body.values()):
        raise SurroundingsError("Nothing to change: give at least one option; --help lists them.")


def _group_body(
    apply_type: ApplyType | None, max_parallel: int | None, description: str | None, name: str | None
) -> dict[str, Any]:
    return {
        "update_apply_type": None if apply_type is None else str(apply_type),
        "max_parallel_subclouds": max_parallel,
        "description": description,
        "name": name,
    }


def _counted(invocation: Invocation, group: Record) -> Record:
    counts = {one["id"]: one["subcloud_count"] for one in invocation.api.read(GROUPS)["subcloud_groups"]}
    return {**group, "subcloud_count": counts.get(group["id"])}


@client_command
def labels(
    invocation: Invocation,
    subcloud: Site,
    label: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Labels to set; others stay. KEY= sets one without a value."),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Label to remove; may be given again.")
    ] = None,
) -> None:
    """Show the labels of a site, set some or remove some."""
    change = _change(label or (), remove or ())
    if change:
        found = invocation.api.change("PATCH", _SUBCLOUDS, subcloud, body={"labels": change})
        say(f"The labels of {found['name']} are changed.")
    else:
        found = invocation.api.read(_SUBCLOUDS, subcloud)
    print_record({"name": found["name"], "labels": found["labels"]}, _FIELDS, invocation.form, "name")


def _change(labels: Sequence[str], removed: Sequence[str]) -> dict[str, Any]:
    """Return a change of labels as the API takes it: null for one that is removed."""
    change: dict[str, Any] = {}
    for text in labels:
        key, equals, value = text.partition("=")
        if not equals:
            raise SurroundingsError(f"{text} is no label: give KEY=VALUE, or KEY= for one without a value.")
        change[key] = value
    both = sorted(set(change).intersection(removed))
    if both:
        raise SurroundingsError(f"{both[0]} is both set and removed; give one of them.")
    return change | dict.fromkeys(removed)
