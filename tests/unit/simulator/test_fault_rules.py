"""Which sites a rule of faults is for."""

from __future__ import annotations

import pytest

from simulator.rules import FaultRule, RuleError, SiteFault, draw_faults, read_rule

NAMES = [f"edge-{number:03}" for number in range(1, 101)]


def drawn(*rules: str, seed: int = 1, names: list[str] = NAMES) -> dict[str, dict[SiteFault, float]]:
    """Return what rules give as plain mappings."""
    found = draw_faults([read_rule(rule) for rule in rules], names, seed)
    return {name: dict(faults) for name, faults in found.items()}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("refuse=2%", FaultRule(fault=SiteFault.REFUSE, seconds=0.0, which="2%")),
        ("slow=10%", FaultRule(fault=SiteFault.SLOW, seconds=1.0, which="10%")),
        ("slow:0.5=10%", FaultRule(fault=SiteFault.SLOW, seconds=0.5, which="10%")),
        ("images-fail=every 50", FaultRule(fault=SiteFault.IMAGES_FAIL, seconds=0.0, which="every 50")),
        (" drop:3=edge-007 ", FaultRule(fault=SiteFault.DROP, seconds=3.0, which="edge-007")),
    ],
)
def test_a_rule_is_read(text: str, rule: FaultRule) -> None:
    """A rule has a kind, seconds where the kind takes some, and the sites that it is for."""
    assert rule == read_rule(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no fault"),
        ("refuse", "is no fault"),
        ("refuse=", "is no fault"),
        ("burn=10%", "refuse, silent"),
        ("refuse:3=10%", "takes no seconds"),
        ("refuse=101%", "at most 100%"),
    ],
)
def test_what_is_no_rule_is_refused(text: str, complaint: str) -> None:
    """The message says what is wrong, or how a rule is written."""
    with pytest.raises(RuleError, match=complaint):
        read_rule(text)


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [("refuse=101", "only 100 sites"), ("refuse=edge-999", "no such site"), ("refuse=every 0", "no such site")],
)
def test_a_rule_for_sites_that_are_not_there(rule: str, complaint: str) -> None:
    """A rule that names what there is not is refused, not passed over."""
    with pytest.raises(RuleError, match=complaint):
        drawn(rule)


@pytest.mark.parametrize(
    ("which", "count"), [("10%", 10), ("0.1%", 1), ("0%", 0), ("100%", 100), ("3", 3), ("every 30", 3), ("edge-050", 1)]
)
def test_how_many_sites(which: str, count: int) -> None:
    """A share is rounded to whole sites and, unless it is nothing, is one at least."""
    assert count == len(drawn(f"refuse={which}"))


def test_every_nth_site() -> None:
    """`every N` means the Nth, the one N further, and so on."""
    assert ["edge-040", "edge-080"] == list(drawn("duplex=every 40"))


def test_the_same_seed_gives_the_same_sites() -> None:
    """A draw is repeated by its seed, and another seed gives another."""
    assert drawn("slow=10%", "refuse=3") == drawn("slow=10%", "refuse=3")
    assert drawn("slow=10%", seed=1) != drawn("slow=10%", seed=2)


def test_a_draw_does_not_depend_on_other_rules() -> None:
    """A rule more leaves the sites of the others as they are."""
    alone = set(drawn("slow=10%"))

    assert alone == {name for name, faults in drawn("refuse=20%", "slow=10%").items() if SiteFault.SLOW in faults}


def test_a_draw_is_the_same_on_every_machine() -> None:
    """The sites of a seed are part of what is promised: a figure measured with them can be measured again."""
    assert ["edge-009", "edge-071", "edge-075"] == sorted(drawn("refuse=3", seed=7))


def test_faults_of_one_site_add_up() -> None:
    """A site may have several faults; of two rules of one kind the later counts."""
    expected = {"edge-001": {SiteFault.SLOW: 2.0, SiteFault.NO_SUDO: 0.0}}

    assert expected == drawn("slow:9=edge-001", "no-sudo=edge-001", "slow:2=edge-001")
