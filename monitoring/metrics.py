"""Metrics of one process for Prometheus: counters and histograms. No site is a label: there may be thousands."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from messages.process_info import program_version

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
# From a precheck without network to images over a slow line.
_PHASE_BUCKETS: Final = (0.1, 0.5, 1, 5, 15, 30, _MINUTE, 150, 300, 600, 1200, 1800, _HOUR, 2 * _HOUR, 4 * _HOUR)
_WAIT_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, _MINUTE, 300, 900, _HOUR, 4 * _HOUR)
_REQUEST_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

# Those that rates of failures are made of.
_OUTCOMES: Final = ("succeeded", "failed")


class ProcessMetrics:
    """The counters of one process in a registry of its own; implements `actors.metrics.Metrics`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Gauge(
            "prestager_build_info", "What runs here; always 1.", ("version", "python"), registry=self.registry
        )
        build.labels(program_version(), platform.python_version()).set(1)
        self._commands = Counter(
            "prestager_commands", "Commands that were answered here.", ("type", "status"), registry=self.registry
        )
        self._phases = Histogram(
            "prestager_phase_duration_seconds",
            "From the moment that a run was taken by this worker to its end.",
            ("phase", "outcome"),
            buckets=_PHASE_BUCKETS,
            registry=self.registry,
        )
        self._waits = Histogram(
            "prestager_run_wait_seconds",
            "From the moment that a run was handed out to the moment that this worker took it.",
            ("phase",),
            buckets=_WAIT_BUCKETS,
            registry=self.registry,
        )
        self._lost = Counter(
            "prestager_leases_lost",
            "Runs that this worker stopped because they were no longer its own, or their leases could not be renewed.",
            registry=self.registry,
        )
        self._fenced = Counter(
            "prestager_results_fenced",
            "Results of this worker that were dropped because the run was no longer its own.",
            registry=self.registry,
        )
        self._plain_starts = Counter(
            "prestager_plain_starts",
            "Processes for playbook runs that were started in the plain way, though Ansible was to be preloaded.",
            registry=self.registry,
        )
        self._webhooks = Counter(
            "prestager_webhook_deliveries",
            "Tries to deliver an event to a webhook: delivered, to be tried again, given up.",
            ("outcome",),
            registry=self.registry,
        )
        self._requests = Histogram(
            "prestager_http_request_duration_seconds",
            "Requests that were answered here; streams count when they end.",
            ("method", "route", "status"),
            buckets=_REQUEST_BUCKETS,
            registry=self.registry,
        )

    def expect_runs(self, phases: Iterable[str]) -> None:
        """Show these phases from now on, at zero: an increase is seen only of a series that was there before."""
        for phase in phases:
            for outcome in _OUTCOMES:
                self._phases.labels(phase, outcome)

    def command_answered(self, kind: str, status: int) -> None:
        """Count a command that was answered; a repeat counts again."""
        self._commands.labels(kind, str(status)).inc()

    def run_claimed(self, phase: str, waited_s: float) -> None:
        """Count a run that was taken."""
        # Clocks of two machines may differ a little.
        self._waits.labels(phase).observe(max(0.0, waited_s))

    def run_ended(self, phase: str, outcome: str, took_s: float) -> None:
        """Count a run that ended here."""
        self._phases.labels(phase, outcome).observe(took_s)

    def lease_lost(self) -> None:
        """Count a run that was stopped because it was no longer this worker's."""
        self._lost.inc()

    def result_fenced(self) -> None:
        """Count a result that was dropped."""
        self._fenced.inc()

    def started_plainly(self) -> None:
        """Count a process for a run that could not be forked."""
        self._plain_starts.inc()

    def webhook_tried(self, outcome: str) -> None:
        """Count one try: delivered, retried, failed."""
        self._webhooks.labels(outcome).inc()

    def request_answered(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count a request; `route` is the template of its path, never the path."""
        self._requests.labels(method, route, str(status)).observe(took_s)

    def watch_slots(self, total: int, free: Callable[[], int]) -> None:
        """Show how many playbooks may run at once here, and how many do."""
        slots = Gauge("prestager_playbook_slots", "Playbooks that may run here at once.", registry=self.registry)
        slots.set(total)
        used = Gauge("prestager_playbook_slots_used", "Playbooks that run here now.", registry=self.registry)
        used.set_function(lambda: total - free())
