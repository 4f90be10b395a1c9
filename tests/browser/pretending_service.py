"""A service whose playbooks only pretend, in a process of its own: all else is real.

`python -m tests.browser.pretending_service up` runs it with the settings of its environment. How a site fares is in its
name: with `login` its packages are refused, with `space` its images find no room, with `slow` its packages take until
somebody stops them. `PRETENDED_RUN_S` is the time of each other playbook, in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from monitoring.logging import configure_logs
from runner.fake import FakeRunEnd, FakeRunner
from runner.interface import OnFinished, PlaybookJob, Runner
from service.process import serve
from service.startup_checks import startable_settings
from statemachine.problems import failure
from statemachine.states import FailureClass, RunOutcome
from tests.support.fake_playbooks import IMAGES, PACKAGES
from tests.support.imported_sites import READY, import_sites_at
from tests.support.service_process import ServiceProcess

_PROGRAM: Final = "tests.browser.pretending_service"
# Longer than any test, in seconds.
_LONGEST_S: Final = 3600.0
SLOTS: Final = 8
# A text that would do harm if a page took it for markup.
HOSTILE: Final = "<img src=x onerror=\"window.harmed=1\"><script>window.harmed=1</script>\u202eevil & 'quoted'"


def start_pretending(
    directory: Path, sites: Mapping[str, Mapping[str, Any]] | Iterable[str], *, run_s: float = 0.05, **settings: object
) -> ServiceProcess:
    """Start a service in `directory` with ready sites, by name with variables of their own, and return it."""
    release = directory / "deploy" / "23.09"
    release.mkdir(parents=True)
    # Without a list there is nothing to do in the images phase.
    (release / "prestage_images_list.txt").write_text("oci:images/a\n")
    service = ServiceProcess(
        directory,
        program=_PROGRAM,
        DEPLOY_DIR=directory / "deploy",
        FEED_DIR=directory / "feed",
        HOST_KEYS="ignore",
        SLOTS=SLOTS,
        **settings,
    )
    service.environment["PRETENDED_RUN_S"] = str(run_s)
    service.prepare()
    own = sites if isinstance(sites, Mapping) else {name: {} for name in sites}
    ready = {**READY, "ansible_connection": "local"}
    import_sites_at(service.database_url, {name: {**ready, **given} for name, given in own.items()})
    service.start()
    return service


def _fails(reason: str, failure_class: FailureClass, task: str) -> FakeRunEnd:
    return FakeRunEnd(
        outcome=RunOutcome.FAILED,
        details=f"task '{task}' failed: {reason}",
        delay_s=0.05,
        says=f"TASK [{task}] ***\nfatal: FAILED! => {reason}\n",
        failure=failure(reason, failure_class=failure_class),
    )


def decide(job: PlaybookJob) -> FakeRunEnd:
    """Return how a playbook of a site ends, by the site's name."""
    phase = job.playbook.stem
    if phase == PACKAGES and "login" in job.host:
        return _fails("Permission denied (publickey,password)", FailureClass.LOGIN, "Gathering Facts")
    if phase == PACKAGES and "hostile" in job.host:
        return _fails(HOSTILE, FailureClass.PLAYBOOK, "Take <b>packages</b>")
    if phase == PACKAGES and "slow" in job.host:
        return FakeRunEnd(delay_s=_LONGEST_S, says="TASK [Take packages] ***\n")
    if phase == IMAGES and "space" in job.host:
        return _fails("Not enough space for the images", FailureClass.SPACE, "Pull images")
    return FakeRunEnd(delay_s=float(os.environ["PRETENDED_RUN_S"]), says=f"TASK [{phase}] ***\nok: [{job.host}]\n")


def _runner(on_finished: OnFinished) -> Runner:
    return FakeRunner(slots=SLOTS, on_finished=on_finished, decide=decide)


def main() -> None:
    """Run the service until a signal stops it."""
    settings = startable_settings()
    configure_logs(settings.log_format, settings.log_level)
    serve(settings, runner_factory=_runner)


if __name__ == "__main__":
    main()
