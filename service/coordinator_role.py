"""Coordinator of a process: the coordinator itself, its periodic work, webhooks, and the probe of all sites."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from actors.coordinator.history_retention import PURGE_S, HistoryRetention
from db.forecaster import FORECAST_S, Forecaster
from db.retention import Retention
from service.lifecycle import Part
from service.periodic_thread import PeriodicThread, WebhookSenderThread
from service.site_access import controller_check, probe_factory
from sites.availability_probe import AvailabilityProbe, ProbeRules
from statemachine.snapshot import PlanLimits
from webhooks.http_client import WebhookClient
from webhooks.repository import WebhookRepository
from webhooks.sender import WebhookSender

if TYPE_CHECKING:
    from service.wiring import Process, ProcessResources

_DAY_S: Final = 86400.0
# Seconds between two looks at the rows that no message asked for.
_RECONCILE_S: Final = 4.0


def build_coordinator(resources: ProcessResources) -> Coordinator:
    """Return the coordinator of a process.

    Raises:
        StartError: The system controller is to be asked and a URL or the password is missing.
    """
    settings = resources.settings
    rules = CoordinatorRules(
        release=settings.release,
        site=resources.site_rules,
        rollout=settings.rollout.given(),
        limits=PlanLimits(max_attempts=settings.max_attempts),
    )
    return Coordinator(
        resources.database,
        resources.inspector,
        rules,
        # The last try may take some seconds, and the caller must get its answer.
        patience_s=settings.command_timeout_s / 2,
        controller_check=controller_check(settings),
        dcmanager=resources.dcmanager,
        metrics=resources.metrics,
        tracer=resources.tracer,
    )


def webhook_part(resources: ProcessResources) -> Part:
    """Return the thread that sends webhooks."""
    settings = resources.settings
    repository = WebhookRepository(resources.database, resources.owner, settings.webhook_give_up_days * _DAY_S)

    def make() -> WebhookSender:
        receivers = WebhookClient(ca_file=settings.webhook_ca_file, allowed=settings.webhook_networks)
        return WebhookSender(repository, resources.sealer, receivers, resources.metrics)

    return WebhookSenderThread(make).part()


def periodic_parts(resources: ProcessResources, coordinator: Coordinator) -> list[Part]:
    """Return the threads that have the coordinator look at the rows, and remove what is no longer kept."""
    settings = resources.settings
    kept = Retention(history=timedelta(days=settings.retention_days), audit=timedelta(days=settings.audit_days))
    retention = HistoryRetention(resources.database, kept)
    return [
        PeriodicThread("retention", retention.purge, PURGE_S).part(),
        PeriodicThread("forecaster", Forecaster(resources.database).make, FORECAST_S).part(),
        PeriodicThread("reconciler", coordinator.coordinate, _RECONCILE_S).part(),
    ]


def availability_probe(process: Process) -> AvailabilityProbe:
    """Return the probe of all sites, for the event loop.

    Raises:
        StartError: Sites are to be asked and there is no password for them, or no authority for their certificates.
    """
    settings = process.settings
    rules = ProbeRules(
        interval_s=settings.probe_interval_s,
        failures=settings.probe_failures,
        concurrency=settings.probe_concurrency,
    )
    return AvailabilityProbe(process.database, rules, probe_factory(settings))
