"""Names that operators, alerts, dashboards, machines and sites know. Each is written out here, not taken from the code.

Names in alerts and dashboards are held to metrics in tests/integration/db/test_db_database_facts.py as well, and
`dramatiq actors.dramatiq_entry` is run in tests/integration/amqp_tools/test_dramatiq_command.py.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from cli.command_table import COMMANDS
from monitoring.metrics import ProcessMetrics
from service.settings import Settings
from tests.unit.kept.source_names import log_events, scraped_labels, texts

ROOT = Path(__file__).parents[3]

SETTINGS = [
    "data_dir",
    "database_url",
    "database_url_file",
    "broker_url",
    "broker_url_file",
    "listen",
    "tls_certificate_file",
    "tls_key_file",
    "max_connections",
    "max_connections_per_address",
    "secret_key",
    "secret_key_file",
    "auth",
    "keystone_auth_url",
    "keystone_username",
    "keystone_password",
    "keystone_password_file",
    "keystone_project",
    "keystone_user_domain",
    "keystone_project_domain",
    "keystone_ca_file",
    "keystone_timeout_s",
    "keystone_cache_s",
    "release",
    "playbooks_dir",
    "ansible",
    "ansible_collections",
    "ansible_config",
    "deploy_dir",
    "feed_dir",
    "inspector",
    "inspections",
    "precheck_deadline_s",
    "site_username",
    "site_password",
    "site_password_file",
    "site_project",
    "site_user_domain",
    "site_project_domain",
    "site_ca_file",
    "site_keystone_port",
    "site_sysinv_port",
    "site_usm_port",
    "site_urls_file",
    "site_connect_timeout_s",
    "site_read_timeout_s",
    "controller_check",
    "controller_keystone_url",
    "controller_url",
    "controller_username",
    "controller_password",
    "controller_password_file",
    "dcmanager_url",
    "allow_duplex",
    "ssh_user",
    "host_keys",
    "slots",
    "worker_queues",
    "max_attempts",
    "prepare_deadline_s",
    "packages_deadline_s",
    "images_deadline_s",
    "floor_rate_mbit_s",
    "keep_releases",
    "command_timeout_s",
    "probe",
    "probe_kind",
    "probe_interval_s",
    "probe_timeout_s",
    "probe_failures",
    "probe_concurrency",
    "audit_days",
    "retention_days",
    "webhook_ca_file",
    "webhook_allow_networks",
    "webhook_give_up_days",
    "worker_name",
    "worker_nice",
    "ready_file",
    "monitor_listen",
    "tracing",
    "tracing_endpoint",
    "tracing_headers_file",
    "tracing_ratio",
    "log_format",
    "log_level",
]
SUBCOMMANDS = [
    "up",
    "api",
    "coordinator",
    "worker",
    "demo",
    "fleet",
    "doctor",
    "seal",
    "drain",
    "undrain",
    "workers",
    "queues",
    "strategy",
    "step",
    "config",
    "subcloud",
    "token",
    "controller",
    "key",
    "db",
    "dead-letters",
    "webhook",
]
# Of one process; the names of counters are those without `_total`.
PROCESS_METRICS = {
    "prestager_build_info": ("version", "python"),
    "prestager_commands": ("type", "status"),
    "prestager_phase_duration_seconds": ("phase", "outcome"),
    "prestager_run_wait_seconds": ("phase",),
    "prestager_leases_lost": (),
    "prestager_plain_starts": (),
    "prestager_results_fenced": (),
    "prestager_webhook_deliveries": ("outcome",),
    "prestager_http_request_duration_seconds": ("method", "route", "status"),
    "prestager_playbook_slots": (),
    "prestager_playbook_slots_used": (),
}
# Read from the database at a scrape.
DATABASE_METRICS = {
    "prestager_strategy": ("state",),
    "prestager_strategy_steps": ("state",),
    "prestager_strategy_failures": ("phase", "class"),
    "prestager_window_limit": (),
    "prestager_window_used": (),
    "prestager_strategy_progress_timestamp_seconds": (),
    "prestager_runs": ("phase", "state"),
    "prestager_workers_at_work": (),
    "prestager_outbox_rows": (),
    "prestager_outbox_lag_seconds": (),
    "prestager_events_unpublished": (),
    "prestager_subclouds": ("management_state", "availability_status"),
    "prestager_webhooks": ("state",),
    "prestager_webhook_deliveries_open": (),
    "prestager_webhook_oldest_open_seconds": (),
}
LOG_EVENTS = {
    "amqp.close-failed": "fault",
    "amqp.dropped": "",
    "amqp.late-settlement": "message",
    "amqp.unread": "",
    "amqp.unsettled": "fault",
    "answer.undelivered": "fault",
    "answer.unreadable": "command",
    "broker.not-ready": "fault",
    "broker.ready": "",
    "command.answered": "detail status",
    "command.broke": "",
    "command.not-recorded": "fault",
    "command.not-stored": "reason",
    "command.unanswered": "",
    "connections.bounded": "advice max_connections reason",
    "connections.no-descriptor": "fault",
    "connections.refused": "count too_many_of",
    "control.unreadable": "",
    "controller-software.not-listed": "advice reason",
    "dcmanager.not-read": "cause",
    "heartbeat.not-removed": "reason",
    "heartbeat.not-written": "advice reason",
    "heartbeat.written-again": "",
    "history.kept": "advice now reason",
    "history.purged": "rows",
    "host-key.not-checked": "",
    "keystone.away": "advice reason",
    "keystone.back": "",
    "live.unwritable": "runs",
    "log.follower-gone": "subcloud",
    "log.store-away": "",
    "loop.failed": "loop reason",
    "loop.still-failing": "failures fault loop",
    "message.left-to-loops": "reason",
    "message.turned-away": "queue reason",
    "message.unreadable": "",
    "monitor.ready": "url",
    "outbox.unknown-actor": "actors",
    "plan.continues": "rounds",
    "playbook.not-started": "",
    "playbooks.broken": "advice reason",
    "playbooks.load-again": "",
    "precheck.broke": "",
    "probe.failed": "reason",
    "probe.fleet-silent": "advice sites",
    "probe.inconclusive": "advice sites",
    "probe.no-version": "cause subcloud",
    "probe.not-told": "cause subcloud",
    "readiness.not-told": "fault file socket",
    "report.unwritable": "run",
    "reports.unwritable": "count",
    "request.database-unavailable": "reason",
    "run.ended": "details outcome",
    "run.fenced": "run",
    "run.nobodys": "run",
    "run.stopped": "reason run",
    "secret-key.missing": "advice count missing_key_ids",
    "secret-key.not-read": "advice reason",
    "secret-key.read-again": "key_ids path",
    "service.no-token": "advice url",
    "service.part-ended": "code role",
    "service.ready": "pid roles",
    "service.stopped": "",
    "service.stopping": "",
    "settings.doubt": "doubt",
    "site.not-read": "cause",
    "site.other-version": "declared found",
    "stream.failed": "",
    "stream.listener-gone": "",
    "stream.store-away": "",
    "subcloud.variables-removed": "advice subcloud variables",
    "tls.not-reloaded": "advice reason",
    "tls.reloaded": "certificate",
    "traces.incomplete": "fault runs",
    "traces.not-sent": "advice fault",
    "traces.sent-again": "lost_spans",
    "transaction.repeated": "attempt",
    "transaction.waits-for-database": "reason",
    "webhook.broke": "fault stack",
    "webhook.events-missed": "advice after webhook",
    "webhook.tried": "attempts delivery event_id fault outcome webhook",
    "webhooks.failed": "reason",
    "webhooks.not-released": "fault",
    "webhooks.still-failing": "failures fault",
    "worker.draining": "running",
    "worker.recovered": "lost_runs",
    "worker.undrained": "running",
}
# Ids that all log lines of a piece of work have.
LOG_IDS = ["strategy", "step", "subcloud", "phase", "attempt", "run", "command", "request", "trace", "span"]
SPAN_ATTRIBUTES = [
    "prestager.command.id",
    "prestager.command.type",
    "prestager.status",
    "prestager.strategy.id",
    "prestager.step.id",
    "prestager.subcloud.name",
    "prestager.phase",
    "prestager.attempt",
    "prestager.run.id",
    "prestager.outcome",
    "prestager.task.result",
    "prestager.worker",
    "prestager.role",
    "service.name",
    "service.version",
    "service.instance.id",
    "messaging.system",
    "messaging.destination.name",
    "messaging.message.id",
    "http.request.method",
    "http.route",
    "http.response.status_code",
]
SPANS = ["dispatch", "conclude", "report", "wait for a worker", "publish "]


def test_the_module_of_dramatiqs_command() -> None:
    """`dramatiq actors.dramatiq_entry` finds a module there of a few statements, which starts the process."""
    tree = ast.parse((ROOT / "actors" / "dramatiq_entry.py").read_text(encoding="utf-8"))
    assert len(tree.body) <= 6
    assert isinstance(tree.body[-1], ast.Expr)
    assert isinstance(tree.body[-1].value, ast.Call)


def test_settings() -> None:
    """A setting keeps its name, and its variable is PRESTAGER_ and the name in upper case."""
    assert set(SETTINGS) <= set(Settings.model_fields)
    assert Settings.PREFIX == "PRESTAGER_"


def test_subcommands() -> None:
    """Every `prestager` command keeps its name."""
    assert set(SUBCOMMANDS) <= set(COMMANDS)


def test_the_wheel() -> None:
    """The wheel has the command `prestager`, the playbooks, and the extras that guides name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert project["project"]["name"] == "prestager"
    assert project["project"]["scripts"] == {"prestager": "cli.main:main"}
    assert set(project["project"]["optional-dependencies"]) == {"tracing", "starlingx"}
    assert {"actors", "api", "cli", "db", "demo", "messages", "playbooks", "runner", "statemachine"} <= set(wheel)


def test_metrics_of_a_process() -> None:
    """Metrics of a process keep their names and labels."""
    metrics = ProcessMetrics()
    metrics.watch_slots(1, lambda: 1)
    collectors = metrics.registry._collector_to_names
    found = {
        collector._name: tuple(collector._labelnames)
        for collector in collectors
        if getattr(collector, "_name", "").startswith("prestager_")
    }
    assert found == PROCESS_METRICS


def test_metrics_of_the_database() -> None:
    """Metrics that are read from the database keep their names and labels, those of its own and the broker's state."""
    assert DATABASE_METRICS.items() <= scraped_labels().items()
    assert {"prestager_database_up", "prestager_broker_up", "prestager_dead_letters", "queue"} <= texts()


@pytest.mark.parametrize("event", sorted(LOG_EVENTS))
def test_log_events(event: str) -> None:
    """An event of the log keeps its name and its fields."""
    assert set(LOG_EVENTS[event].split()) <= log_events()[event]


def test_ids_in_log_lines() -> None:
    """The ids that connect log lines keep their names."""
    assert set(LOG_IDS) <= texts()


def test_spans() -> None:
    """Spans and their attributes keep their names."""
    assert {*SPANS, *SPAN_ATTRIBUTES} <= texts()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        # Every process of a run, by which it is found and ended.
        ("runner", "PRESTAGER_RUN"),
        ("runner", "TRACEPARENT"),
        ("runner/callback_plugins/prestager_failures.py", "PRESTAGER_FAILURES_FILE"),
        # Held by the service on its data directory.
        ("service", "prestager.lock"),
        # On sites and on the controller: older versions that still run hold them as well.
        ("playbooks/module_utils/prestage/lock.py", ".prestage.lock"),
        ("playbooks/module_utils/prestage/prepared_set.py", ".prepare.lock"),
        ("playbooks/module_utils/prestage/incoming.py", ".prestage-incoming"),
        ("playbooks/module_utils/prestage/image_staging.py", ".prestage-images"),
    ],
)
def test_markers_and_lock_files(file: str, text: str) -> None:
    """Variables that mark processes, lock files and directories on sites keep their names."""
    path = ROOT / file
    sources = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert any(f'"{text}"' in source.read_text(encoding="utf-8") for source in sources)
