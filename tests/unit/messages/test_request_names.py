"""A name that is not known is refused with the nearest one, but for those that dcmanager's API knows."""

from __future__ import annotations

from time import process_time

import pytest

from messages.commands import STRATEGY_ACTIONS
from messages.dcmanager import STRATEGY_FIELDS, SUBCLOUD_FIELDS
from messages.errors import RequestError
from messages.requests.base import Request, reject_unknown, taken_names, unknown_text, unused_fields, unused_note
from messages.requests.group import GroupChange, GroupRequest
from messages.requests.rollout import RolloutChange, RolloutOptions
from messages.requests.strategy import ActionRequest, PrestageBody, PrestageCommand, StrategyBody, StrategyCommand
from messages.requests.strategy_control import (
    ACTION_BODIES,
    CancelBody,
    CancelRequest,
    PauseBody,
    PauseRequest,
    ResumeBody,
    ResumeRequest,
    StepCancelRequest,
    StepHoldRequest,
    StepUpdate,
    StrategyUpdate,
)
from messages.requests.subcloud import NewSubcloud, StagedRequest, SubcloudChange
from messages.requests.webhook import WebhookBody, WebhookChangeBody

STRATEGIES = (StrategyBody, StrategyCommand, PrestageBody, PrestageCommand)
SUBCLOUDS = (NewSubcloud, SubcloudChange)


@pytest.mark.parametrize(
    ("model", "name", "nearest"),
    [
        (StrategyBody, "stop_on_failure", "stop-on-failure"),
        (StrategyBody, "sysadmin_pasword", "sysadmin_password"),
        (StrategyBody, "Release", "release"),
        (StrategyBody, "typ", "type"),
        (StrategyCommand, "max_parallel_subclouds", "max-parallel-subclouds"),
        (PrestageBody, "for_sw_deployment", "for_sw_deploy"),
        (GroupRequest, "max_parallel_subcloud", "max_parallel_subclouds"),
        (GroupChange, "descripton", "description"),
        (NewSubcloud, "bootstrap-adress", "bootstrap-address"),
        (SubcloudChange, "group", "group_id"),
        # Of what is only known, where nothing that is taken is near.
        (SubcloudChange, "sysadmin_pasword", "sysadmin_password"),
        (NewSubcloud, "instal_values", "install_values"),
        (StrategyBody, "snapshots", "snapshot"),
        (StrategyBody, "release_ids", "release"),
        (PauseBody, "reasons", "reason"),
        (PauseRequest, "scop", "scope"),
        (ResumeBody, "sysadmin_pasword", "sysadmin_password"),
        (ResumeBody, "allow_failures", "allow-failures"),
        (ResumeRequest, "allow-failure", "allow-failures"),
        (CancelBody, "grace", "grace-s"),
        (CancelRequest, "grace_s", "grace-s"),
        (StrategyUpdate, "max_parallel_subclouds", "max-parallel-subclouds"),
        (StrategyUpdate, "rolout", "rollout"),
        (StepUpdate, "hold", "held"),
        (StepHoldRequest, "reson", "reason"),
        (StepCancelRequest, "graces", "grace-s"),
        (StagedRequest, "relase", "release"),
        (WebhookBody, "urll", "url"),
        (WebhookChangeBody, "secrets", "secret"),
    ],
)
def test_nearest_name(model: type[Request], name: str, nearest: str) -> None:
    """The name that comes nearest to an unknown one is told; case does not matter for it."""
    with pytest.raises(RequestError) as refused:
        reject_unknown(model, [*taken_names(model), name])

    assert f"Unknown field: {name}; did you mean {nearest}?" == str(refused.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("release ", "'release '; did you mean release?"),
        ("releas\u0435", "'releas\\u0435'; did you mean release?"),
        ("release\u200b", "'release\\u200b'; did you mean release?"),
        ("release\r\nX: y", "'release\\r\\nX: y'; did you mean release?"),
        ("\x1b[1mforce", "'\\x1b[1mforce'; did you mean force?"),
        ("", "''; GET /docs shows the fields that there are"),
    ],
)
def test_names_that_look_like_another(name: str, told: str) -> None:
    """What cannot be told from another name by eye, or moves a terminal's cursor, is quoted and escaped."""
    with pytest.raises(RequestError) as refused:
        reject_unknown(StrategyBody, [name])

    assert f"Unknown field: {told}" == str(refused.value)


@pytest.mark.parametrize("name", ["xyzzy", "", "t", "x" * 65, "\ud800"])
def test_nothing_near(name: str) -> None:
    """Where no name is near, the documents are named; what is sent is repeated in part and can be encoded."""
    with pytest.raises(RequestError) as refused:
        reject_unknown(StrategyBody, [name])

    told = str(refused.value)
    assert told.endswith("; GET /docs shows the fields that there are")
    assert len(told.encode()) < 130


@pytest.mark.parametrize("model", [*STRATEGIES, *SUBCLOUDS])
def test_what_dcmanager_knows(model: type[Request]) -> None:
    """Fields of any type of strategy, and of any deployment, are let in; each is one that we do not take."""
    known = STRATEGY_FIELDS if model in STRATEGIES else SUBCLOUD_FIELDS

    reject_unknown(model, known)

    assert sorted(known - {"sysadmin_password"}) == sorted(set(unused_fields(model, known)) - {"sysadmin_password"})
    assert set() == (known & taken_names(model))


def test_fields_of_another_kind_of_body() -> None:
    """What dcmanager knows of one kind of body is not known in another."""
    for model, name in ((GroupRequest, "rollback"), (StrategyBody, "install_values"), (NewSubcloud, "rollback")):
        with pytest.raises(RequestError, match=f"^Unknown field: {name}; "):
            reject_unknown(model, [name])


@pytest.mark.parametrize(
    ("model", "name"),
    [(PauseBody, "grace-s"), (ResumeBody, "scope"), (CancelBody, "allow-failures"), (CancelBody, "type")],
)
def test_options_of_another_action(model: type[Request], name: str) -> None:
    """An action refuses the options of other actions, and the strategy's type, which the query has."""
    with pytest.raises(RequestError, match=f"^Unknown field: {name}; "):
        reject_unknown(model, [name])


@pytest.mark.parametrize(
    ("body", "commands"),
    [
        (PauseBody, PauseRequest),
        (ResumeBody, ResumeRequest),
        (CancelBody, CancelRequest),
    ],
)
def test_bodies_of_actions(body: type[Request], commands: type[Request]) -> None:
    """A body takes what its command takes, but for the type, which the query has, and the password, which is sealed."""
    assert taken_names(commands) - {"type"} == taken_names(body) - {"sysadmin_password"}
    assert set(STRATEGY_ACTIONS) - {"apply", "abort"} == set(ACTION_BODIES)


def test_bodies_of_the_contract_alone() -> None:
    """Where the contract ignores other names, so do we."""
    reject_unknown(ActionRequest, ["action", "anything"])


def test_order_does_not_matter() -> None:
    """Of several unknown names the first in the alphabet is told, in whatever order they came."""
    for names in (["b1", "a1"], ["a1", "b1"]):
        with pytest.raises(RequestError, match=r"^Unknown field: a1; "):
            reject_unknown(GroupRequest, names)


def test_comparing_is_cheap() -> None:
    """Ten thousand long unknown names are refused as fast as one."""
    began = process_time()
    with pytest.raises(RequestError):
        reject_unknown(NewSubcloud, [f"{number:x>60}" for number in range(10_000)])

    assert process_time() - began < 1.0


def test_words_for_parameters() -> None:
    """A parameter of a query is called one."""
    assert "Unknown parameter: limt; did you mean limit?" == unknown_text("limt", {"limit", "marker"}, "parameter")


def test_fields_that_are_not_used() -> None:
    """Every spelling of a field is used; all other names are told, sorted."""
    names = ["name", "management-subnet", "management_subnet", "group_id", "install_values", "bmc_password"]

    assert ["bmc_password", "install_values"] == unused_fields(SubcloudChange, names)
    assert (
        unused_note(SubcloudChange, names) == "Prestager does not use, and did not keep: bmc_password, install_values."
    )
    assert None is unused_note(SubcloudChange, ["name"])


@pytest.mark.parametrize("name", sorted(RolloutChange.fixed_names))
def test_a_name_that_only_create_takes(name: str) -> None:
    """An option that only a new strategy takes is refused in a change with that reason; a new one takes it."""
    with pytest.raises(RequestError) as refused:
        reject_unknown(RolloutChange, ["on-budget", name])

    assert f"{name} is fixed at create" == str(refused.value)
    reject_unknown(RolloutOptions, [name])
