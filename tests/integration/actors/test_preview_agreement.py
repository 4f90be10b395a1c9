"""Random fleets and requests: a preview is what create makes of them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from db.schema import secrets, steps, strategies, subcloud_groups, subclouds
from messages.commands import CommandType
from tests.support.installation import Installation

# Of each kind of database: what both make is made of the rows, which are the same.
FLEETS = {"sqlite": 1000, "postgresql": 200}
PARTS = 10
SEED = 15


def make_fleet(random: Random, installation: Installation) -> dict[str, Any]:
    """Replace the fleet by a random one, and return a random request for it."""
    with installation.database.write() as connection:
        for table in (secrets, steps, strategies, subclouds):
            connection.execute(delete(table))
        connection.execute(delete(subcloud_groups).where(subcloud_groups.c.id > 1))
        template = dict(connection.execute(select(subcloud_groups)).mappings().one())
        groups = range(2, random.randint(2, 4) + 1)
        for group in groups:
            values = {
                "id": group,
                "name": f"g{group}",
                "update_apply_type": random.choice(["parallel", "serial"]),
                "max_parallel_subclouds": random.randint(1, 4),
                "rollout": random.choice([{}, {}, {"max-failures": 2}]),
            }
            connection.execute(insert(subcloud_groups).values({**template, **values}))
    names = [f"s{number}" for number in range(random.randint(0, 9))]
    with installation.database.write() as connection:
        for name in names:
            connection.execute(
                insert(subclouds).values(
                    name=name,
                    region_name=name,
                    group_id=random.choice([1, *groups]),
                    software_version=random.choice(["22.12", "23.09"]),
                    management_state=random.choice(["managed"] * 9 + ["unmanaged"]),
                    availability_status=random.choice(["online"] * 9 + ["offline"]),
                    deploy_status=random.choice(["complete"] * 9 + ["installing"]),
                    error_description="No errors present",
                    openstack_installed=False,
                    system_mode="simplex",
                    management_alarms=0,
                    connection={},
                    probe_failures=0,
                    labels={key: random.choice(["a", "b", ""]) for key in ("x", "y") if random.random() < 0.6},
                    created_at=template["created_at"],
                )
            )
    return make_request(random, names, [template["name"], *(f"g{group}" for group in groups)])


def make_request(random: Random, names: list[str], groups: list[str]) -> dict[str, Any]:
    """Return a random request, which may name what there is not."""
    refs = [*names, *names, "nobody"]
    request: dict[str, Any] = {}
    if random.random() < 0.3:
        request["group"] = random.choice(groups)
    if random.random() < 0.4:
        request["clouds"] = random.choices(refs, k=random.randint(1, 5))
    if random.random() < 0.4:
        request["selector"] = random.choice(["x", "!x", "x=a", "y!=b", "x in (a,b),y", "x,!y"])
    if random.random() < 0.3:
        request["exclude"] = random.choice([{"selector": "y=b"}, {"clouds": random.choices(refs, k=2)}])
    if random.random() < 0.5:
        request["skip-ineligible"] = True
    if random.random() < 0.3:
        request["max-parallel-subclouds"] = random.randint(1, 5)
    if random.random() < 0.2:
        request["subcloud-apply-type"] = random.choice(["parallel", "serial"])
    if random.random() < 0.4:
        request["rollout"] = random.choice(
            [{"mode": "window"}, {"mode": "window", "order": "longest-first"}, {"ramp": {"start": 1}}]
        )
    return request


@pytest.mark.parametrize("part", range(PARTS))
def test_preview_and_create_agree(installation: Installation, database_kind: str, part: int) -> None:
    """For random fleets and requests a preview is what create makes: stages, sites, reasons, options, refusals."""
    random = Random(SEED + part)
    created, fleets = 0, FLEETS[database_kind] // PARTS
    for _fleet in range(fleets):
        request = make_fleet(random, installation)
        shown = installation.ask(CommandType.STRATEGY_PREVIEW, password=None, type="prestage", **request).body

        answer = installation.create(**request, **{"plan-digest": shown["plan-digest"]})

        if shown["refusals"]:
            assert (422, shown["refusals"][0]) == (answer.status, answer.detail), request
            continue
        assert 200 == answer.status, (request, answer.detail)
        created += 1
        found = [(row["stage"], row["subcloud_name"]) for row in installation.rows(steps)]
        assert sorted(found) == sorted((one["stage"], name) for one in shown["stages"] for name in one["clouds"])
        for key in ("subcloud-apply-type", "max-parallel-subclouds", "rollout", "excluded-subclouds"):
            assert shown[key] == answer.body[key], request
    assert created >= fleets // 5
