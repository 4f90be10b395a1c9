"""Worker of a process: the step worker with its dependencies, its runner, and its threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.worker.dependencies import ControllerSoftware, WorkerDependencies
from actors.worker.result_writer import ResultWriter
from actors.worker.worker import StepWorker
from messages.queues import phases_of_queues
from playbook_sets.load_check import LoadCheck
from playbook_sets.playbook_readiness import PlaybookReadiness
from playbook_sets.playbook_set import PlaybookCheck
from runner.interface import OnFinished, Runner
from runner.supervisor import Supervisor
from service.controller import ansible_installation
from service.site_access import software_lister
from service.worker_threads import WorkerThreads
from sites.host_key_scan import ScanLimits
from statemachine.states import PLAYBOOK_PHASES

if TYPE_CHECKING:
    from service.wiring import ProcessResources


class WorkerRole:
    """The worker of a process, and what it works with.

    `runner_factory` takes the place of the Ansible supervisor.
    """

    def __init__(self, resources: ProcessResources, runner_factory: Callable[[OnFinished], Runner] | None) -> None:
        self._resources = resources
        self.dependencies = _dependencies(resources, has_ansible=runner_factory is None)
        self.worker = StepWorker(self.dependencies)
        self.runner = (runner_factory or self._supervisor)(self.worker.finished)

    def threads(self, report: Callable[[], None]) -> WorkerThreads:
        """Return the threads beside its actors; `report` has this process reported at once."""
        return WorkerThreads(self._resources.database, self.worker, self.dependencies, self.runner, report)

    def _supervisor(self, on_finished: OnFinished) -> Runner:
        settings = self._resources.settings
        return Supervisor(
            slots=settings.slots,
            worker=settings.worker_name,
            on_finished=on_finished,
            ansible=ansible_installation(settings),
            preload=settings.preload,
            on_plain_start=self._resources.metrics.started_plainly,
        )


def _dependencies(resources: ProcessResources, *, has_ansible: bool) -> WorkerDependencies:
    settings = resources.settings
    phases = phases_of_queues(settings.served_queues)
    resources.metrics.expect_runs(phases)
    runs_playbooks = not phases.isdisjoint(PLAYBOOK_PHASES)
    return WorkerDependencies(
        database=resources.database,
        inspector=resources.inspector,
        dcmanager=resources.dcmanager,
        sealer=resources.sealer,
        results=ResultWriter(resources.database, resources.owner, resources.metrics),
        metrics=resources.metrics,
        layout=resources.layout,
        playbooks=_playbooks(resources, runs_playbooks=runs_playbooks and has_ansible),
        rules=resources.site_rules,
        host_keys=settings.host_keys,
        host_key_limits=ScanLimits(
            connect_s=settings.site_connect_timeout_s,
            deadline_s=settings.site_connect_timeout_s + settings.site_read_timeout_s,
        ),
        owner=resources.owner,
        phases=phases,
        inspections=settings.inspections,
        software=ControllerSoftware(software_lister(settings), settings.release),
        tracer=resources.tracer,
    )


def _playbooks(resources: ProcessResources, *, runs_playbooks: bool) -> PlaybookReadiness:
    settings = resources.settings
    directory, loader = settings.playbooks_dir, None
    if runs_playbooks:
        loader = LoadCheck(directory, ansible_installation(settings), worker=settings.worker_name)
    return PlaybookReadiness(PlaybookCheck(directory), loader)
