"""The `dcmanager` client while a strategy is held or cancelled: every command works, in words that it knows.

The stand-in of the client fails at a word that is not of the contract (7.1, 7.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runner.fake import FakeRunEnd
from runner.interface import PlaybookJob
from tests.integration.keystone.dcmanager_service import DcmanagerService, brought_up
from tests.support.dcmanager_client import CommandFailedError, DcmanagerClient
from tests.support.fake_playbooks import FAILS, PACKAGES, FakePlaybooks
from tests.support.keystone_server import KeystoneServer
from tests.support.tcp_proxy import HOST
from tests.support.waiting import wait_for

ACTIONS = "/sw-update-strategy/actions?type=prestage"
SITES = ["subcloud1", "subcloud2", "subcloud3"]
# Longer than any test.
ENDLESS = FakeRunEnd(delay_s=3600)


# How the packages of a site end, where they do.
ENDS: dict[str, FakeRunEnd] = {}


def decide(job: PlaybookJob) -> FakeRunEnd:
    """Let the packages never end, or as a test says, and all else succeed at once."""
    if job.playbook.stem != PACKAGES:
        return FakeRunEnd()
    return ENDS.get(job.host, ENDLESS)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Let no packages end in the next test."""
    yield
    ENDS.clear()


@pytest.fixture
def failing() -> str:
    """Have the packages of the first site fail; return its name."""
    ENDS[SITES[0]] = FAILS
    return SITES[0]


@pytest.fixture(scope="module")
def service(keystone: KeystoneServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DcmanagerService]:
    """A service with room for one playbook, and three sites; the server is found in the catalogue, and only there."""
    service = DcmanagerService(keystone, tmp_path_factory.mktemp("service"), FakePlaybooks(decide), slots=1)
    endpoint = keystone.add_endpoint("dcmanager", f"http://{HOST}:{service.port}/v1.0")
    brought_up(DcmanagerClient(keystone.url, "admin", keystone.password), *SITES)
    yield service
    keystone.remove_endpoint(endpoint)
    service.close()


@pytest.fixture
def admin(service: DcmanagerService, keystone: KeystoneServer) -> Iterator[DcmanagerClient]:
    """The client; in the end the strategy is cancelled and deleted."""
    admin = DcmanagerClient(keystone.url, "admin", keystone.password)
    yield admin
    if admin.strategy_show()["state"] == "applying":
        act(admin, "cancel", **{"grace-s": 0})
    wait_for(lambda: admin.strategy_show()["state"] in ("aborted", "failed"))
    admin.strategy_delete()


def act(admin: DcmanagerClient, action: str, **options: Any) -> None:
    """Hold or cancel the strategy, which the client itself cannot."""
    admin._json("POST", ACTIONS, {"action": action, **options}, ())


def held(admin: DcmanagerClient) -> list[str]:
    """Return the kinds of the open holds of the strategy, which the client itself does not show."""
    shown = admin._read("/sw-update-strategy?type=prestage", ())
    return [hold["kind"] for hold in shown["holds"]]


def states(admin: DcmanagerClient) -> list[str]:
    """Return the states of all steps, in order."""
    return [step["state"] for step in admin.step_list()]


def run_states(admin: DcmanagerClient) -> list[str | None]:
    """Return whether the run of each step waits for a slot or runs, which the client itself does not show."""
    return [step["run-state"] for step in admin._read("/sw-update-strategy/steps?type=prestage", ())["strategy-steps"]]


def statuses(admin: DcmanagerClient) -> dict[str, str | None]:
    """Return the prestage-status of each site."""
    return {name: admin.subcloud_show(name)["prestage-status"] for name in SITES}


def begin(admin: DcmanagerClient, first: str = "prestaging-packages", **rollout: Any) -> None:
    """Apply a strategy with two sites at once, and wait until one is worked on and another waits for room.

    The first site comes to the state `first`. The client itself sends no options of a rollout.
    """
    options = {"rollout": rollout} if rollout else {}
    admin.strategy_create(**{"subcloud-apply-type": "parallel", "max-parallel-subclouds": 2, **options})
    admin.strategy_action("apply")
    wait_for(lambda: states(admin) == [first, "prestaging-packages", "initial"])
    if first == "prestaging-packages":
        wait_for(lambda: "running" in run_states(admin))


def look(admin: DcmanagerClient, failed: str = "") -> None:
    """Run every command that shows something."""
    assert [step["cloud"] for step in admin.step_list()] == SITES
    assert [subcloud["name"] for subcloud in admin.subcloud_list()] == SITES
    assert [subcloud["name"] for subcloud in admin.group_subclouds("Default")] == SITES
    for name in SITES:
        assert admin.step_show(name)["cloud"] == name
        assert admin.subcloud_show(name)["name"] == name
        assert admin.subcloud_show(name, detail=True)["name"] == name
        assert (admin.subcloud_errors(name) == "No errors present") is (name != failed)
    assert admin.group_show("Default")["name"] == "Default"
    assert [group["name"] for group in admin.group_list()] == ["Default"]


def press(admin: DcmanagerClient, state: str, busy: list[str] = SITES) -> None:
    """Run every command that is refused while a strategy is in this state; the refusals are those of always.

    `busy` are the sites whose steps have not ended.
    """
    with pytest.raises(CommandFailedError, match="Strategy of type: 'prestage' already exists"):
        admin.strategy_create()
    with pytest.raises(CommandFailedError, match=f"Strategy in state {state} cannot be applied"):
        admin.strategy_action("apply")
    with pytest.raises(CommandFailedError, match=f"Strategy in state {state} cannot be deleted"):
        admin.strategy_delete()
    for name in busy:
        with pytest.raises(CommandFailedError, match=f"Prestage skipped '{name}'"):
            admin.subcloud_prestage(name)


@pytest.mark.parametrize("scope", ["starts", "phases"])
def test_paused(admin: DcmanagerClient, scope: str) -> None:
    """A paused strategy is `applying` to the client, whether its sites run, are parked, or have not started."""
    begin(admin)

    act(admin, "pause", scope=scope, reason="storm")

    assert admin.strategy_show()["state"] == "applying"
    assert states(admin) == ["prestaging-packages", "prestaging-packages", "initial"]
    look(admin)
    press(admin, "applying")
    # Managing and describing are refused or granted as without a hold.
    assert admin.subcloud_update("subcloud3", description="d")["description"] == "d"


@pytest.mark.parametrize("mode", ["stages", "window"])
def test_budget_exceeded(admin: DcmanagerClient, failing: str, mode: str) -> None:
    """A strategy that its failure budget holds is `applying` to the client, and its abort is legal."""
    begin(admin, "failed", **{"mode": mode, "max-failures": 0})
    wait_for(lambda: held(admin) == ["budget"])

    assert admin.strategy_show()["state"] == "applying"
    look(admin, failing)
    press(admin, "applying", SITES[1:])
    assert admin.strategy_action("abort")["state"] == "abort requested"
    wait_for(lambda: states(admin) == ["failed", "prestaging-packages", "aborted"])
    look(admin, failing)
    act(admin, "cancel", **{"grace-s": 0})
    wait_for(lambda: admin.strategy_show()["state"] == "failed")
    look(admin, failing)


@pytest.mark.parametrize(
    ("kind", "stage"), [("soak", {"soak-s": 3600}), ("gate", {"gate": "approval"}), ("budget", {"max-failures": 0})]
)
def test_between_two_stages(admin: DcmanagerClient, kind: str, stage: dict[str, Any]) -> None:
    """A strategy that soaks, waits for an approval or for the budget of a stage is `applying`; its abort is legal."""
    is_failed = kind == "budget"
    ENDS[SITES[0]] = FAILS if is_failed else FakeRunEnd()
    failed = SITES[0] if is_failed else ""
    admin.strategy_create(rollout={"mode": "window", "stages": [{"name": "canary", "count": 1, **stage}]})
    admin.strategy_action("apply")
    wait_for(lambda: held(admin) == [kind])

    assert admin.strategy_show()["state"] == "applying"
    assert states(admin) == ["failed" if is_failed else "complete", "initial", "initial"]
    look(admin, failed)
    press(admin, "applying", SITES[1:])
    assert admin.subcloud_update("subcloud3", description=kind)["description"] == kind
    assert admin.strategy_action("abort")["state"] == "abort requested"
    wait_for(lambda: admin.strategy_show()["state"] == ("failed" if is_failed else "aborted"))
    assert states(admin)[1:] == ["aborted", "aborted"]
    look(admin, failed)


def test_approved_and_denied(admin: DcmanagerClient) -> None:
    """After a soak time the client sees a further site start, after a denial an abort; its user may not approve."""
    ENDS[SITES[0]] = ENDS[SITES[1]] = FakeRunEnd()
    stages = [{"name": "canary", "count": 1, "soak-s": 1}, {"name": "next", "count": 1, "gate": "approval"}]
    admin.strategy_create(rollout={"mode": "window", "stages": stages})
    admin.strategy_action("apply")
    wait_for(lambda: held(admin) == ["gate"])
    with pytest.raises(CommandFailedError, match="created the strategy, and somebody else has to approve it"):
        act(admin, "approve", stage="next")
    look(admin)
    press(admin, "applying", SITES[2:])

    act(admin, "deny", stage="next", note="Slow.")

    wait_for(lambda: admin.strategy_show()["state"] == "aborted")
    assert states(admin) == ["complete", "complete", "aborted"]
    look(admin)


def test_sliding_window(admin: DcmanagerClient) -> None:
    """A sliding window, paused or not, is to the client what stages are, and so is its abort."""
    begin(admin, mode="window")
    look(admin)
    press(admin, "applying")
    act(admin, "pause", scope="phases")
    look(admin)
    press(admin, "applying")

    assert admin.strategy_action("abort")["state"] == "abort requested"

    wait_for(lambda: states(admin)[2] == "aborted")
    look(admin)
    press(admin, "aborting", SITES[:2])
    act(admin, "cancel", **{"grace-s": 0})


def test_abort_of_a_paused_strategy(admin: DcmanagerClient) -> None:
    """The client's abort is legal while the strategy is paused; sites that had not started are aborted."""
    begin(admin)
    act(admin, "pause", scope="phases")

    assert admin.strategy_action("abort")["state"] == "abort requested"

    wait_for(lambda: admin.strategy_show()["state"] == "aborting")
    wait_for(lambda: states(admin)[2] == "aborted")
    look(admin)
    press(admin, "aborting", SITES[:2])
    act(admin, "cancel", **{"grace-s": 0})


def test_cancelled(admin: DcmanagerClient) -> None:
    """A cancelled strategy is aborted to the client, and so are its sites, those that were worked on too.

    Only a site that was worked on has failed; the others are as they were before.
    """
    before = statuses(admin)
    begin(admin)
    worked_on = SITES[run_states(admin).index("running")]

    act(admin, "cancel", **{"grace-s": 0})

    look(admin)
    wait_for(lambda: admin.strategy_show()["state"] == "aborted")
    assert states(admin) == ["aborted", "aborted", "aborted"]
    assert statuses(admin) == {**before, worked_on: "failed"}
    with pytest.raises(CommandFailedError, match="Strategy in state aborted cannot be aborted"):
        admin.strategy_action("abort")


def test_resumed(admin: DcmanagerClient) -> None:
    """After a pause and a resume the client sees what it would have seen without them."""
    begin(admin)
    act(admin, "pause", scope="phases")

    act(admin, "resume")

    assert admin.strategy_show()["state"] == "applying"
    wait_for(lambda: states(admin) == ["prestaging-packages", "prestaging-packages", "initial"])
    look(admin)
