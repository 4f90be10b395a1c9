"""Registers a fleet in one transaction: all of it, or nothing when anything is wrong.

Groups and changes of known sites go through the handlers that serve the API, so both keep the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from sqlalchemy import RowMapping, insert, select

from actors.coordinator.context import CommandContext, CoordinatorRules
from actors.coordinator.errors import CommandRefusedError
from actors.coordinator.groups import create_group, update_group
from actors.coordinator.subclouds import read_imported_changes, read_new_imported, update_imported_subcloud
from cli.installation import shell_caller
from cli.inventory_import.host_variables import readable
from cli.inventory_import.reading import InventoryContent
from db.audit import record, record_shell_action
from db.database import Database
from db.host_keys import give_host_keys, new_host_key_columns
from db.schema import subcloud_groups, subclouds
from db.unit_of_work import unit_of_work
from messages.commands import Answer, Command, CommandType, ShellAction
from messages.requests.group import MAX_PARALLEL
from sites.inspector import DeclaredInspector

_WIDTH: Final = "max_parallel_subclouds"
# Most subclouds at once that dcmanager allows a group.
_DCMANAGER_WIDTH: Final = 5000
# Stands for a group that was refused: no row has this number.
_NO_GROUP: Final = 0


@dataclass(frozen=True, kw_only=True)
class ImportRules:
    """Options of a registration."""

    # Of sites that name no software version; None: every site must name one.
    default_version: str | None
    # Whether known sites and groups are changed; otherwise a known site is a fault.
    update: bool
    # Whether to leave everything as it was.
    dry_run: bool


@dataclass(kw_only=True)
class Registered:
    """Result of an import, or of its dry run."""

    added: int = 0
    updated: int = 0
    # Known, and as the file wants them already.
    unchanged: int = 0
    groups_added: int = 0
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def register(database: Database, content: InventoryContent, rules: ImportRules) -> Registered:
    """Register the fleet; with faults, or on a dry run, nothing is changed."""
    done = Registered(faults=list(content.faults), warnings=list(content.warnings))
    with unit_of_work(database, as_coordinator=True) as work:
        context = CommandContext(
            work=work,
            rules=CoordinatorRules(release=rules.default_version),
            inspector=DeclaredInspector(),
        )
        fleet = _Import(context, content, rules, done)
        fleet.run()
        record_shell_action(
            work.connection, ShellAction.SET_HOST_KEY, fleet.keys_given, caller=shell_caller(), at=work.at
        )
        if done.faults or rules.dry_run:
            work.abandon()
    return done


class _Import:
    """One import, inside its transaction."""

    def __init__(
        self, context: CommandContext, content: InventoryContent, rules: ImportRules, done: Registered
    ) -> None:
        self._context = context
        self._content = content
        self._rules = rules
        self._done = done
        # Names of the sites whose host keys are new.
        self.keys_given: list[str] = []

    def run(self) -> None:
        groups = {name: self._group(name, fields) for name, fields in self._content.groups.items()}
        known = {row["name"]: row for row in self._context.connection.execute(select(subclouds)).mappings()}
        fresh: list[dict[str, Any]] = []
        for name, fields in self._content.sites.items():
            group_id = groups[self._content.group_of[name]]
            if name not in known:
                fresh += self._note_error(name, lambda: [self._new(name, fields, group_id)]) or []  # noqa: B023 - called at once
            elif self._rules.update:
                self._note_error(name, lambda: self._change(known[name], fields, group_id))  # noqa: B023 - called at once
            else:
                self._done.faults.append(f"{name} is registered already; give --update to change it.")
        if fresh and not self._done.faults:
            self._context.connection.execute(insert(subclouds), fresh)
        self._done.added = len(fresh)

    def _note_error(self, name: str, work: Callable[[], Any]) -> Any:
        """Return what `work` returns; None if the command is refused, which is noted as a fault."""
        try:
            return work()
        except CommandRefusedError as refusal:
            self._done.faults.append(f"{readable(name)}: {refusal.detail.removesuffix('.')}.")
            return None

    def _note_group_error(self, name: str, work: Callable[[], Any]) -> Any:
        """Do the same for a group; its fault names a host too, for groups come with the variables of hosts."""
        known = len(self._done.faults)
        made = self._note_error(f"group {name}", work)
        if len(self._done.faults) > known:
            host = next(host for host, group in self._content.group_of.items() if group == name)
            self._done.faults[-1] += f" Its first host: {readable(host)}."
        return made

    def _new(self, name: str, fields: Mapping[str, Any], group_id: int) -> dict[str, Any]:
        values = read_new_imported(fields, default_version=self._rules.default_version or "")
        keys = self._content.host_keys.get(name, ())
        if keys:
            self.keys_given.append(name)
        return {
            **values,
            **new_host_key_columns(self._context.work, name, keys, values["software_version"]),
            # An import needs more rights than those of an administrator.
            "version_by_administrator": True,
            "group_id": group_id,
            "created_at": self._context.at,
            "oam_floating_ip": values.get("oam_floating_ip"),
        }

    def _change(self, row: RowMapping, fields: Mapping[str, Any], group_id: int) -> None:
        """Send a change to the handler, of what differs only: it refuses to manage what is managed."""
        differing = {
            key: value
            for key, value in fields.items()
            if any(row[column] != read for column, read in read_imported_changes({key: value}).items())
        }
        if group_id not in (_NO_GROUP, row["group_id"]):
            differing["group_id"] = group_id
        if differing:
            self._update(row, differing)
        # After the change: keys are recorded with the version that the site has by it.
        if self._give_keys(row["name"]) or differing:
            self._done.updated += 1
        else:
            self._done.unchanged += 1

    def _update(self, row: RowMapping, differing: Mapping[str, Any]) -> None:
        command = Command(
            type=CommandType.SUBCLOUD_UPDATE,
            subject=str(row["id"]),
            data=dict(differing),
            requested_by=shell_caller(),
            by_administrator=True,
        )
        update_imported_subcloud(self._context, command)
        if self._context.notes:
            audited = command.model_copy(update={"subject": row["name"]})
            record(
                self._context.connection, audited, Answer(status=HTTPStatus.OK), self._context.at, self._context.notes
            )
            self._context.notes.clear()

    def _give_keys(self, name: str) -> bool:
        """Record the keys that the file gives for a known site; False: none, or those that it has."""
        keys = self._content.host_keys.get(name)
        if keys is None:
            return False
        context = self._context
        row = context.connection.execute(select(subclouds).where(subclouds.c.name == name)).mappings().one()
        is_new = give_host_keys(context.work, row, keys)
        if is_new:
            self.keys_given.append(name)
        return is_new

    def _group(self, name: str, fields: Mapping[str, Any]) -> int:
        fields = self._with_possible_width(name, fields)
        row = self._find_group(name)
        if row is None:
            command = Command(type=CommandType.GROUP_CREATE, data=_described(name, fields))
            created = self._note_group_error(name, lambda: create_group(self._context, command))
            self._done.groups_added += created is not None
            return int(created["id"]) if created is not None else _NO_GROUP
        self._change_group(row, fields)
        return int(row["id"])

    def _with_possible_width(self, name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the fields with a width that dcmanager allows and Prestager does not replaced by the largest here."""
        try:
            width = int(str(fields.get(_WIDTH)))
        except ValueError:
            return fields
        if not MAX_PARALLEL < width <= _DCMANAGER_WIDTH:
            return fields
        self._done.warnings.append(
            f"Group {name} allows {width} subclouds in parallel; at most {MAX_PARALLEL} are worked on at once here, so"
            f" {MAX_PARALLEL} counts."
        )
        return {**fields, _WIDTH: MAX_PARALLEL}

    def _change_group(self, row: RowMapping, fields: Mapping[str, Any]) -> None:
        differing = {key: value for key, value in fields.items() if str(row[key]) != str(value)}
        if not differing:
            return
        name = row["name"]
        if not self._rules.update:
            self._done.warnings.append(
                f"Group {name} exists and keeps its {', '.join(sorted(differing))}; --update changes it."
            )
            return
        command = Command(type=CommandType.GROUP_UPDATE, subject=str(row["id"]), data=differing)
        self._note_group_error(name, lambda: update_group(self._context, command))

    def _find_group(self, name: str) -> RowMapping | None:
        query = select(subcloud_groups).where(subcloud_groups.c.name == name)
        return self._context.connection.execute(query).mappings().one_or_none()


def _described(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "description": f"Sites of {name}", **fields}
