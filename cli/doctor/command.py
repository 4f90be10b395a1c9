"""The command itself: run every check, print a line each, exit with 1 when one fails."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import typer

from cli.doctor.broker_checks import broker_findings
from cli.doctor.controller_checks import dcmanager_findings, keystone_findings, site_findings
from cli.doctor.database_checks import database_findings, host_key_findings, key_findings, worker_findings
from cli.doctor.finding import Level
from cli.doctor.machine_checks import room_findings, settings_findings
from client.output import Output, OutputFormat, ShownField, print_records
from service.load_settings import read_settings

_FIELDS: Final = tuple(
    ShownField(key=key, title=title) for key, title in (("level", "level"), ("subject", "check"), ("text", "finding"))
)


def doctor(output: Output = OutputFormat.TABLE) -> None:
    """Look at everything that the service needs, one line each: ok, warn or fail with what to do.

    Changes nothing and may run beside the service. Exits with 1 when a line says fail.
    """
    settings = read_settings()
    findings = [*settings_findings(settings)]
    checks = (
        database_findings,
        key_findings,
        broker_findings,
        worker_findings,
        keystone_findings,
        site_findings,
        dcmanager_findings,
        host_key_findings,
        room_findings,
    )
    for check in checks:
        findings += check(settings)
    print_records([asdict(found) for found in findings], _FIELDS, output, "subject")
    if any(found.level is Level.FAIL for found in findings):
        raise typer.Exit(1)
