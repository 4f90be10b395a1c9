"""`prestager strategy retry`, over the API alone."""

from __future__ import annotations

from tests.support.operator_shell import OperatorShell
from tests.support.service_process import ServiceProcess

PASSWORD = "Li69nux*\n"


def test_retry_of_a_strategy(shell: OperatorShell, service: ServiceProcess) -> None:
    """The failed site of an ended strategy is retried with its own new strategy, which is followed to its end."""
    created = shell.strategy("create", "--apply", "--watch", stdin=PASSWORD)
    assert created.code == 3, created.err
    _, earlier = service.get("/v1.0/sw-update-strategy")
    assert "retry" in earlier["commands"]

    retried = shell.strategy("retry", "--apply", "--watch", "-o", "json", stdin=PASSWORD)

    assert retried.code == 3, retried.err
    assert f"retries strategy {earlier['id']}" in retried.err
    _, found = service.get("/v1.0/sw-update-strategy")
    assert (earlier["id"], 1) == (found["retry-of"], found["progress"]["total"])
    _, past = service.get(f"/v1.0/strategies/{earlier['id']}")
    assert ([found["id"]], ["retry"]) == (past["retried-by"], past["commands"])
    refused = shell.strategy("retry", "--subcloud", "edge-1", stdin=PASSWORD)
    assert (1, True) == (refused.code, "edge-1: not among its sites" in refused.err)
