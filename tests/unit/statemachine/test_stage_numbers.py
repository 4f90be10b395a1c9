from __future__ import annotations

import pytest

from statemachine.eligibility import Candidate, number_stages


def group(group_id: int, apply_type: str, width: int, *subclouds: int) -> list[Candidate]:
    return [
        Candidate(subcloud_id=one, group_id=group_id, group_apply_type=apply_type, group_max_parallel=width)
        for one in subclouds
    ]


# Contract 8.1: candidates, apply type and width of the request, stages in the order of groups and subclouds.
EXAMPLES = {
    "one group of two": (group(1, "parallel", 2, 1, 2, 3), None, None, [1, 1, 2]),
    "a stage never spans groups": (
        [*group(1, "parallel", 2, 1, 2), *group(2, "parallel", 2, 3)],
        None,
        None,
        [1, 1, 2],
    ),
    "serial, then parallel": (
        [*group(1, "serial", 2, 1, 2), *group(2, "parallel", 3, 3, 4, 5, 6)],
        None,
        None,
        [1, 2, 3, 3, 3, 4],
    ),
    "serial by request": (
        [*group(1, "parallel", 5, 1, 2, 3), *group(2, "parallel", 5, 4)],
        "serial",
        None,
        [1, 2, 3, 4],
    ),
    "width by request": (
        [*group(1, "parallel", 1, 1, 2, 3), *group(2, "serial", 1, 4, 5)],
        None,
        5,
        [1, 1, 1, 2, 3],
    ),
    "parallel by request": (group(1, "serial", 2, 1, 2, 3), "parallel", None, [1, 1, 2]),
    "serial by request beats a width": (group(1, "parallel", 5, 1, 2), "serial", 5, [1, 2]),
    # Eligible ones of upstream's unit test, without its extra stage for the controller.
    "upstream's unit table": (
        [
            *group(1, "parallel", 2, 1, 3),
            *group(2, "serial", 2, 5),
            *group(3, "parallel", 2, 6, 7),
            *group(4, "serial", 2, 8, 9, 10),
            *group(5, "parallel", 2, 11, 12, 13),
        ],
        None,
        None,
        [1, 1, 2, 3, 3, 4, 5, 6, 7, 7, 8],
    ),
    "ineligible last of a group burns no number": (
        [*group(1, "parallel", 2, 1, 2), *group(3, "parallel", 2, 9)],
        None,
        None,
        [1, 1, 2],
    ),
    "an empty first group burns no number": (group(2, "parallel", 2, 3), None, None, [1]),
    "nobody": ([], None, None, []),
}


@pytest.mark.parametrize(("candidates", "apply_type", "width", "expected"), EXAMPLES.values(), ids=EXAMPLES)
def test_contract_examples(
    candidates: list[Candidate], apply_type: str | None, width: int | None, expected: list[int]
) -> None:
    """The stages are those of the contract's examples."""
    stages = number_stages(candidates, apply_type=apply_type, max_parallel=width)

    assert expected == [stage for _, stage in stages]


def test_order_is_by_group_and_subcloud() -> None:
    """The order in which candidates come means nothing: groups go by id, subclouds inside them by id."""
    shuffled = [*group(2, "parallel", 2, 3, 1), *group(1, "serial", 1, 9, 2)]

    assert [(2, 1), (9, 2), (1, 3), (3, 3)] == list(number_stages(shuffled))
