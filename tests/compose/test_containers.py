"""docker-compose.yml under podman: what the file promises holds of running containers."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from simulator.simulation import Fleet
from tests.compose.installation import PRESTAGER, RELEASE, USER, Installation
from tests.support.waiting import wait_for

pytestmark = pytest.mark.compose

SERVICES = (*PRESTAGER, "rabbitmq", "postgres")
STRATEGY = "/v1.0/sw-update-strategy"
MOVING = ("applying", "abort requested", "aborting")
END_S = 600.0
# In containers.
TMP, MEMORY = "/tmp", "/dev/shm"  # noqa: S108
DATA = {"rabbitmq": "/var/lib/rabbitmq", "postgres": "/var/lib/postgresql/data"}


def steps(running: Installation) -> dict[str, str]:
    """Return the states of the steps by subcloud."""
    return {step["cloud"]: step["state"] for step in running.ask_until(f"{STRATEGY}/steps")["strategy-steps"]}


def create_and_apply(running: Installation, fleet: Fleet) -> None:
    """Begin to prestage the whole fleet."""
    sealed = b64encode(fleet.password.encode()).decode()
    running.ask("POST", STRATEGY, {"type": "prestage", "sysadmin_password": sealed})
    running.ask("POST", f"{STRATEGY}/actions", {"action": "apply"})


def wait_for_complete(running: Installation, count: int) -> None:
    """Return when so many steps are complete, while the strategy still goes on."""

    def is_reached() -> bool:
        state = running.ask_until(STRATEGY)["state"]
        assert state == "applying", f"the strategy is {state} already: {steps(running)}"
        return sum(state == "complete" for state in steps(running).values()) >= count

    wait_for(is_reached, END_S, lambda: str(steps(running)))


def test_a_strategy_survives_the_death_of_each_container(running: Installation, fleet: Fleet) -> None:
    """Each container is killed once while a strategy goes on; it comes back, and every site is prestaged in the end."""
    create_and_apply(running, fleet)
    try:
        for done, (service, number) in enumerate(
            [("worker", 1), ("coordinator", 1), ("rabbitmq", 1), ("postgres", 1), ("worker", 2), ("api", 1)], start=1
        ):
            wait_for_complete(running, done)
            running.kill(service, number)
            running.wait_for_health(service, number)
        wait_for(lambda: running.ask_until(STRATEGY)["state"] not in MOVING, END_S)

        assert "complete" == running.ask_until(STRATEGY)["state"]
        assert {site.name: "complete" for site in fleet.sites} == steps(running)
        for site in fleet.sites:
            assert (site.tree.backup / RELEASE).is_dir(), site.name
    except AssertionError:
        for service, number in (("worker", 1), ("worker", 2), ("coordinator", 1), ("api", 1)):
            print(f"--- {service} {number}\n{running.log(service, number)}")  # noqa: T201
        raise


def test_two_workers_are_at_work(running: Installation) -> None:
    """A service that is scaled to two has two containers, and the API knows both."""
    wait_for(lambda: 2 == len([one for one in workers(running) if "worker" in json.dumps(one)]), 60.0)


def workers(running: Installation) -> list[Any]:
    """Return the processes that take playbooks."""
    return [one for one in running.ask_until("/v1.0/workers")["workers"] if one.get("slots")]


@pytest.mark.parametrize("service", SERVICES)
def test_a_name_leads_to_living_containers_alone(running: Installation, service: str) -> None:
    """The name of a service has the addresses of its containers and no other, whatever ran and died before."""
    numbers = (1, 2) if service == "worker" else (1,)
    networks = [running.inspect(service, number)["NetworkSettings"]["Networks"] for number in numbers]
    found = running.execute("coordinator", "getent", "ahostsv4", service)

    assert {one["IPAddress"] for each in networks for one in each.values()} == {
        line.split()[0] for line in found.splitlines()
    }


@pytest.mark.parametrize("service", SERVICES)
def test_no_process_has_rights(running: Installation, service: str) -> None:
    """The first process of a container is no root, has no capability, and can get none."""
    status = running.status(service)

    assert 0 not in map(int, status["Uid"].split())
    assert {"0000000000000000"} == {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert "1" == status["NoNewPrivs"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_root_is_read_only(running: Installation, service: str) -> None:
    """Nothing can be written beside the places that are mounted for it, and no program can be put there and run."""
    root = next(line.split() for line in running.execute(service, "cat", "/proc/mounts").splitlines() if " / " in line)

    assert "ro" in root[3].split(",")
    assert running.fails(service, "touch", "/made")
    running.execute(service, "sh", "-c", f"printf '#!/bin/sh\\n' >{TMP}/program && chmod 755 {TMP}/program")
    assert running.fails(service, f"{TMP}/program")


@pytest.mark.parametrize("service", SERVICES)
def test_no_core_file_is_written(running: Installation, service: str) -> None:
    """A process whose memory holds passwords writes none of it to a file when it dies."""
    limit = re.search(r"Max core file size\s+(\S+)\s+(\S+)", running.limits(service))
    places = [TMP, DATA.get(service, MEMORY)]

    assert limit is not None
    assert ("0", "0") == limit.groups()
    assert "" == running.execute(service, "find", *places, "-type", "f", "-name", "core*", "-size", "+0")


@pytest.mark.parametrize("service", SERVICES)
def test_secrets_are_files_of_their_readers(running: Installation, service: str) -> None:
    """A container has the secrets that the file gives it and no other, read-only; none is in what the engine shows."""
    described = json.dumps(running.inspect(service)) + running.execute(service, "env")
    command_lines = running.execute(service, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    given = {mount["Destination"]: mount for mount in running.inspect(service)["Mounts"]}
    secrets = {Path(mount["Source"]).name: place for place, mount in given.items() if "/secrets/" in mount["Source"]}

    assert GIVEN[service] == set(secrets)
    for name, place in secrets.items():
        assert "444" == running.execute(service, "stat", "--format", "%a", place).strip()
        assert running.fails(service, "sh", "-c", f": >{place}")
        assert running.secrets[name].rstrip("\n") == running.execute(service, "cat", place)
    for name, value in running.secrets.items():
        if name != "rabbitmq-account":
            assert value not in described + command_lines, name


GIVEN = {
    **{name: {"database-url", "broker-url", "secret-key"} for name in PRESTAGER},
    "rabbitmq": {"rabbitmq-account"},
    "postgres": {"postgres-password"},
}


def test_data_is_its_owners_alone(running: Installation) -> None:
    """What the stores and the program keep can be read by their users alone."""
    assert "700 postgres" == running.execute("postgres", "stat", "--format", "%a %U", DATA["postgres"]).strip()
    cookie = f"{DATA['rabbitmq']}/.erlang.cookie"
    assert re.fullmatch("[46]00 rabbitmq", running.execute("rabbitmq", "stat", "--format", "%a %U", cookie).strip())
    for service in PRESTAGER:
        made = running.execute(
            service, "find", TMP, MEMORY, "-mindepth", "1", "-maxdepth", "1", "-user", f"{USER}", "-perm", "/077"
        )
        assert {f"{TMP}/program"} >= set(made.split())


def test_the_installation_finds_itself_well(running: Installation) -> None:
    """`prestager doctor` in a container has nothing to complain of."""
    assert "fail" not in running.execute("worker", "prestager", "doctor")


def test_prometheus_reads_every_part(running: Installation) -> None:
    """With the profile for it, Prometheus finds all containers by their names and reads their metrics.

    Grafana is left out: nothing stands in for its image.
    """
    running.compose("--profile", "monitoring", "up", "--detach", "--no-deps", "prometheus")
    running.wait_for_health("prometheus")
    wait_for(lambda: {"rabbitmq", "api", "coordinator", "worker"} <= up(running), 120.0, lambda: str(up(running)))


def up(running: Installation) -> set[str]:
    """Return the services that Prometheus reads."""
    printed = running.execute("prometheus", "wget", "-qO-", "http://127.0.0.1:9090/api/v1/targets?state=active")
    targets = json.loads(printed)["data"]["activeTargets"]
    found = {json.dumps(one["labels"] | one["discoveredLabels"]) for one in targets if one["health"] == "up"}
    return {name for name in ("rabbitmq", "api", "coordinator", "worker") if any(name in text for text in found)}
