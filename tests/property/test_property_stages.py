from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statemachine.eligibility import Candidate, number_stages

GROUPS = st.dictionaries(
    st.integers(1, 9),
    st.tuples(st.sampled_from(["parallel", "serial"]), st.integers(1, 6), st.integers(1, 20)),
    max_size=6,
)
REQUESTED = st.tuples(st.sampled_from([None, "parallel", "serial"]), st.none() | st.integers(1, 500))


@st.composite
def fleets(draw: st.DrawFn) -> list[Candidate]:
    found: list[Candidate] = []
    for group_id, (apply_type, width, count) in draw(GROUPS).items():
        found += [
            Candidate(
                subcloud_id=group_id * 100 + place,
                group_id=group_id,
                group_apply_type=apply_type,
                group_max_parallel=width,
            )
            for place in range(count)
        ]
    return draw(st.permutations(found))


ON_A_BUSY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(candidates=fleets(), requested=REQUESTED)
@ON_A_BUSY_MACHINE
def test_stages(candidates: list[Candidate], requested: tuple[str | None, int | None]) -> None:
    """Each subcloud has one stage; stages are contiguous from 1, in order, inside one group, and never too wide."""
    apply_type, width = requested
    of_subcloud = {one.subcloud_id: one for one in candidates}

    numbered = list(number_stages(candidates, apply_type=apply_type, max_parallel=width))

    assert sorted(of_subcloud) == sorted(subcloud_id for subcloud_id, _ in numbered)
    stages = [stage for _, stage in numbered]
    assert all(later - earlier in (0, 1) for earlier, later in pairwise([0, *stages]))
    for stage in set(stages):
        members = [of_subcloud[subcloud_id] for subcloud_id, of in numbered if of == stage]
        assert len({one.group_id for one in members}) == 1
        serial = (apply_type or members[0].group_apply_type) == "serial"
        assert len(members) <= (1 if serial else width or members[0].group_max_parallel)


@given(candidates=fleets(), requested=REQUESTED)
@ON_A_BUSY_MACHINE
def test_stages_are_full(candidates: list[Candidate], requested: tuple[str | None, int | None]) -> None:
    """Inside a group only the last stage may have room."""
    apply_type, width = requested
    of_subcloud = {one.subcloud_id: one for one in candidates}
    sizes: dict[int, dict[int, int]] = {}
    for subcloud_id, stage in number_stages(candidates, apply_type=apply_type, max_parallel=width):
        of_group = sizes.setdefault(of_subcloud[subcloud_id].group_id, {})
        of_group[stage] = of_group.get(stage, 0) + 1

    for group_id, of_group in sizes.items():
        member = next(one for one in candidates if one.group_id == group_id)
        serial = (apply_type or member.group_apply_type) == "serial"
        full = 1 if serial else width or member.group_max_parallel

        assert [full] * (len(of_group) - 1) == list(of_group.values())[:-1]
