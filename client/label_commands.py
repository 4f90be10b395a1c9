"""`prestager subcloud labels`: labels of a subcloud over the API, by which selectors choose it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from client.client_command import Invocation, client_command
from client.errors import SurroundingsError
from client.output import Record, ShownField, print_record, say

_SUBCLOUDS: Final = "subclouds"


def _labels_text(labels: Record) -> str:
    return ", ".join(f"{key}={value}" if value else key for key, value in labels.items())


_FIELDS: Final = (
    ShownField(key="name", title="site"),
    ShownField(key="labels", title="labels", text=_labels_text),
)


@client_command
def labels(
    invocation: Invocation,
    subcloud: Annotated[str, typer.Argument(metavar="SUBCLOUD", help="Name or id of the site.")],
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
