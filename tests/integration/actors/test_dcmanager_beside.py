"""Strategies beside a dcmanager that works on some of the subclouds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from db.database import Database
from db.encryption import Sealer
from db.schema import commands, steps, strategies
from messages.commands import CommandType
from simulator.site_spec import EVERYTHING, Fault, FaultKind, SiteSpec
from sites.dcmanager import DcmanagerSubclouds
from sites.errors import InspectionError
from sites.inspector import DeclaredInspector
from statemachine.site_operations import SiteOperation
from tests.support.installation import Installation, StartedInstallation
from tests.support.simulated_sites import SitesThread, sites_in_thread
from tests.support.waiting import wait_for

BUSY = (
    "Prestage skipped 'busy': Subcloud busy current backup_status in dcmanager is 'backing-up'. "
    "Please wait until it finishes before running this operation."
)
UNKNOWN = "Whether dcmanager works on the subclouds could not be told, so nothing was started."


class Beside:
    """A dcmanager in the place of the real one, with a count of the questions."""

    def __init__(self) -> None:
        self.operations = {"busy": SiteOperation(key="backup-status", status="backing-up")}
        self.error: str | None = None
        self.asked = 0

    def ask(self) -> None:
        """Begin nothing: the answer is there."""

    def read(self) -> DcmanagerSubclouds:
        self.asked += 1
        if self.error is not None:
            raise InspectionError(self.error)
        return DcmanagerSubclouds(count=2, operations=self.operations)


@pytest.fixture
def beside() -> Beside:
    return Beside()


@pytest.fixture
def house_beside(new_database_url: Callable[..., str], beside: Beside) -> Iterator[Installation]:
    """Give an installation beside a dcmanager, with the subclouds `busy`, `free` and one that dcmanager has not."""
    database = Database(new_database_url())
    coordinator = Coordinator(database, DeclaredInspector(), CoordinatorRules(release="23.09"), dcmanager=beside)
    installation = Installation(database=database, coordinator=coordinator, sealer=Sealer(b"k" * 32))
    for name in ("busy", "free", "elsewhere"):
        installation.add_site(name)
    yield installation
    database.close()


def test_create_leaves_out_what_dcmanager_works_on(house_beside: Installation, beside: Beside) -> None:
    """A strategy leaves a busy subcloud out with the reason; one that dcmanager does not know is taken."""
    created = house_beside.create()

    assert 200 == created.status, created.detail
    assert ["free", "elsewhere"] == [name for name, _ in house_beside.stages()]
    assert [{"name": "busy", "reason": BUSY}] == house_beside.rows(strategies)[-1]["excluded"]
    assert 1 == beside.asked


def test_create_for_one_busy_subcloud(house_beside: Installation) -> None:
    """A strategy for a busy subcloud alone is refused with the reason, as for any other reason."""
    created = house_beside.create(cloud_name="busy")

    assert (422, True) == (created.status, created.detail.endswith(BUSY))


def test_a_standalone_prestage_of_a_busy_subcloud(house_beside: Installation) -> None:
    """A standalone prestage of a busy subcloud is refused with the reason; one of another is not."""
    refused = house_beside.ask(CommandType.SUBCLOUD_PRESTAGE, subject="busy")

    assert (400, BUSY) == (refused.status, refused.detail)
    assert 200 == house_beside.ask(CommandType.SUBCLOUD_PRESTAGE, subject="free").status


def test_nothing_starts_while_dcmanager_is_away(house_beside: Installation, beside: Beside) -> None:
    """Both ways of starting work are 503 with cause, setting and remedy; nothing is stored."""
    beside.error = "192.0.2.1:8119 refused the connection."
    answers = [house_beside.create(), house_beside.ask(CommandType.SUBCLOUD_PRESTAGE, subject="free")]

    assert [503, 503] == [answer.status for answer in answers]
    for answer in answers:
        assert answer.detail.startswith(f"{UNKNOWN} 192.0.2.1:8119 refused the connection. ")
        assert "PRESTAGER_DCMANAGER_URL" in answer.detail
    assert {"subcloud.add"} == {row["type"] for row in house_beside.rows(commands)}
    assert [] == house_beside.rows(steps)


def test_other_commands_do_not_ask(house_beside: Installation, beside: Beside) -> None:
    """A strategy can be applied, aborted and deleted while dcmanager is away."""
    house_beside.create()
    beside.error = "away"

    assert [200, 200] == [house_beside.verb(verb).status for verb in ("apply", "abort")]
    assert 1 == beside.asked


def test_mistakes_in_the_request_are_told_first(house_beside: Installation, beside: Beside) -> None:
    """What is wrong with the request itself is told though dcmanager is away."""
    beside.error = "away"
    missing = house_beside.ask(CommandType.STRATEGY_CREATE, password=None, type="prestage")

    assert (400, "subcloud sysadmin_password required") == (missing.status, missing.detail)


@pytest.fixture
def sites() -> Iterator[SitesThread]:
    with sites_in_thread([SiteSpec(name="controller", role="systemcontroller")]) as sites:
        yield sites


@pytest.fixture
def installation(build: Callable[..., StartedInstallation], sites: SitesThread) -> StartedInstallation:
    """Give a running installation beside a dcmanager that lists `one` and `two`."""
    controller = sites["controller"]
    controller.spec.subclouds = [{"name": name, "deploy-status": "complete"} for name in ("one", "two")]
    installation = build(
        dcmanager_url=controller.dcmanager_url,
        controller_keystone_url=controller.keystone_url,
        controller_password=controller.spec.account.password,
    )
    for name in ("one", "two"):
        installation.add_site(name)
    return installation


def _forget(installation: StartedInstallation) -> None:
    """Let the next who asks get a new list, as after 10 s."""
    installation.process.worker._precheck._dcmanager._question = None


def test_precheck_skips_what_dcmanager_has_begun_since(installation: StartedInstallation, sites: SitesThread) -> None:
    """A site on which dcmanager began to work after the strategy was created is skipped in its precheck."""
    installation.create()
    sites["controller"].spec.subclouds[0]["prestage-status"] = "prestaging"
    _forget(installation)
    installation.verb("apply")

    assert "complete" == installation.ending()
    details = {name: installation.step(name)["details"] for name in ("one", "two")}
    assert details["one"].startswith(
        "Prestage skipped 'one': Subcloud one current prestage_status in dcmanager is 'prestaging'. "
    )
    assert "" == details["two"]
    assert 2 == sites["controller"].spec.requests["subclouds"]


def test_create_and_precheck_share_a_list(installation: StartedInstallation, sites: SitesThread) -> None:
    """Coordinator and worker of one process, and all sites, use one list as long as it is fresh."""
    assert "complete" == installation.run_strategy()
    assert 1 == sites["controller"].spec.requests["subclouds"]


def test_precheck_goes_on_while_dcmanager_is_away(installation: StartedInstallation, sites: SitesThread) -> None:
    """A step that was let in is not turned down because dcmanager does not answer; its log has a warning."""
    installation.create()
    sites["controller"].spec.faults[EVERYTHING] = Fault(kind=FaultKind.UNAVAILABLE)
    _forget(installation)
    installation.verb("apply")

    assert "complete" == installation.ending()
    assert installation.log("one", "prestage-precheck").startswith(
        "Warning: whether dcmanager works on the site is not known. GET /subclouds/ was answered with 503.\n"
    )


def test_a_standalone_prestage_beside_dcmanager(installation: StartedInstallation, sites: SitesThread) -> None:
    """A standalone prestage is prechecked against dcmanager too."""
    sites["controller"].spec.subclouds[0]["deploy-status"] = "installing"
    refused = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="one")
    taken = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="two")

    assert (400, True) == (refused.status, "deploy_status in dcmanager is 'installing'" in refused.detail)
    assert 200 == taken.status
    wait_for(lambda: installation.step("two")["state"] == "complete")
