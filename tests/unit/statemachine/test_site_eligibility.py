from __future__ import annotations

from dataclasses import replace

import pytest

from statemachine.eligibility import (
    CONTROLLER_UPGRADING,
    DEPLOYED,
    EligibilityRules,
    Ineligibility,
    SiteFacts,
    SiteStatus,
    as_unstage,
    check_facts,
    check_release,
    check_status,
    check_unstage,
    failed,
    reason_against_sw_deploy,
    skipped,
    unreachable,
)
from statemachine.states import FailureClass

GOOD = SiteStatus(
    name="site1", availability_status="online", management_state="managed", deploy_status="complete", busy_with=None
)
FACTS = SiteFacts(
    system_mode="simplex", oam_address="10.10.10.12", management_affecting_alarms=False, software_version="21.12"
)
OFFLINE = Ineligibility(skip=True, text="Prestage skipped 'site1': Subcloud is offline.")
UNMANAGED = Ineligibility(skip=True, text="Prestage skipped 'site1': Subcloud is not managed.")
BUSY = Ineligibility(
    skip=True,
    text=(
        "Prestage skipped 'site1': Subcloud site1 current prestage_status is 'prestaging'. "
        "Please wait until it finishes before running this operation."
    ),
)
WAITING = Ineligibility(
    skip=True,
    text=(
        "Prestage skipped 'site1': Subcloud site1 has a step in a strategy that has not been worked on. "
        "Please wait for the strategy to end, or delete it, before running this operation."
    ),
)
DEPLOYING = Ineligibility(
    skip=True,
    text="Prestage skipped 'site1': Prestage operation is not allowed when subcloud deploy is in progress.",
)
NOT_SIMPLEX = Ineligibility(
    skip=True, text="Prestage skipped 'site1': Prestage operation is only accepted for a simplex subcloud."
)
ALARMS = Ineligibility(
    skip=False,
    text=(
        "Prestage failed 'site1': Subcloud has management affecting alarm(s). "
        "Please resolve the alarm condition(s) or use --force option and try again."
    ),
    failure_class=FailureClass.ALARM,
)


class TestStatus:
    def test_eligible(self) -> None:
        """A managed, online, deployed subcloud with nothing to do is eligible."""
        assert check_status(GOOD) is None

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"availability_status": "offline"}, OFFLINE),
            ({"management_state": "unmanaged"}, UNMANAGED),
            ({"busy_with": "initial"}, WAITING),
            ({"busy_with": "prestage-precheck"}, BUSY),
            ({"busy_with": "prestage-prepare"}, BUSY),
            ({"busy_with": "prestaging-packages"}, BUSY),
            ({"busy_with": "prestaging-images"}, BUSY),
            ({"deploy_status": "installing"}, DEPLOYING),
        ],
    )
    def test_each_reason(self, changes: dict[str, str], expected: Ineligibility) -> None:
        """Each reason alone skips the subcloud with the contract's text (3.3.3)."""
        assert expected == check_status(replace(GOOD, **changes))

    def test_order(self) -> None:
        """Of many reasons the first in the contract's order counts: offline, not managed, busy, not deployed."""
        everything = SiteStatus(
            name="site1",
            availability_status="offline",
            management_state="unmanaged",
            deploy_status="installing",
            busy_with="prestaging-images",
        )
        steps = [
            everything,
            replace(everything, availability_status="online"),
            replace(everything, availability_status="online", management_state="managed"),
            replace(everything, availability_status="online", management_state="managed", busy_with=None),
        ]

        assert [OFFLINE, UNMANAGED, BUSY, DEPLOYING] == [check_status(site) for site in steps]

    @pytest.mark.parametrize("deploy_status", DEPLOYED)
    def test_deployed(self, deploy_status: str) -> None:
        """What earlier prestages left in the deploy status counts as deployed."""
        assert check_status(replace(GOOD, deploy_status=deploy_status)) is None

    @pytest.mark.parametrize("deploy_status", ["prestage-prepare", "prestaging-packages", "not-deployed", ""])
    def test_not_deployed(self, deploy_status: str) -> None:
        """A deploy that is under way, or never was, is a reason."""
        assert check_status(replace(GOOD, deploy_status=deploy_status)) == DEPLOYING


class TestFacts:
    @pytest.mark.parametrize("force", [True, False])
    def test_eligible(self, force: bool) -> None:
        """A healthy simplex site is eligible, with or without force."""
        assert check_facts("site1", FACTS, force=force, rules=EligibilityRules()) is None

    @pytest.mark.parametrize("force", [True, False])
    def test_a_software_deploy_in_transition_is_skipped(self, force: bool) -> None:
        """A site whose own software deploy is in transition is skipped, with its state; force does not change that."""
        facts = replace(FACTS, deploy_in_transition="host", management_affecting_alarms=True)
        expected = Ineligibility(
            skip=True,
            text="Prestage skipped 'site1': Subcloud site1 current state of its own software deploy (USM) is 'host'. "
            "Please wait until it finishes before running this operation.",
        )

        assert expected == check_facts("site1", facts, force=force, rules=EligibilityRules())

    @pytest.mark.parametrize("force", [True, False])
    @pytest.mark.parametrize("mode", ["duplex", "duplex-direct", "", "Simplex"])
    def test_duplex_is_skipped(self, mode: str, force: bool) -> None:
        """What is not simplex is skipped, and force does not change that (8.10)."""
        facts = replace(FACTS, system_mode=mode, management_affecting_alarms=True)

        assert check_facts("site1", facts, force=force, rules=EligibilityRules()) == NOT_SIMPLEX

    def test_duplex_by_rule(self) -> None:
        """The operator may allow duplex sites."""
        facts = replace(FACTS, system_mode="duplex")

        assert check_facts("site1", facts, force=False, rules=EligibilityRules(simplex_only=False)) is None

    @pytest.mark.parametrize(
        ("is_active", "refusal"),
        [
            (True, None),
            (None, None),
            (
                False,
                Ineligibility(
                    skip=True,
                    text=(
                        "Prestage skipped 'site1': Prestage for install on duplex subclouds is only allowed when"
                        " controller-0 is active."
                    ),
                ),
            ),
        ],
    )
    def test_controller_0_must_be_active(self, is_active: bool | None, refusal: Ineligibility | None) -> None:
        """Where the active controller matters, a site on its second controller is skipped."""
        facts = replace(FACTS, system_mode="duplex", controller_0_active=is_active)

        assert refusal == check_facts("site1", facts, force=False, rules=EligibilityRules(simplex_only=False))

    def test_alarm_fails(self) -> None:
        """A management-affecting alarm fails the subcloud; it does not skip it (8.7)."""
        facts = replace(FACTS, management_affecting_alarms=True)

        assert check_facts("site1", facts, force=False, rules=EligibilityRules()) == ALARMS

    def test_force_passes_over_alarms(self) -> None:
        """Force passes over alarms."""
        facts = replace(FACTS, management_affecting_alarms=True)

        assert check_facts("site1", facts, force=True, rules=EligibilityRules()) is None


class TestRelease:
    @pytest.mark.parametrize(
        ("release", "current"), [("22.12", "21.12"), ("22.12", "22.12"), ("22.12", "nightly"), ("9.10", "9.9")]
    )
    def test_newer_same_or_unknown(self, release: str, current: str) -> None:
        """A newer release, the same one, and one that cannot be compared are let through."""
        assert check_release("site1", release, current, for_sw_deploy=True) is None

    def test_older_for_an_install(self) -> None:
        """A site may be installed anew with an older release."""
        assert check_release("site1", "9.9", "9.10", for_sw_deploy=False) is None

    @pytest.mark.parametrize("release", ["22.12", "24.08", "9.10"])
    def test_too_old_for_a_deployment(self, release: str) -> None:
        """No site takes a release before 24.09 as a deployment of software; any may be installed."""
        fault = reason_against_sw_deploy(release, for_sw_deploy=True)

        assert fault is not None
        assert fault.startswith("The requested software version is not supported, cannot prestage for software deploy.")
        assert reason_against_sw_deploy(release, for_sw_deploy=False) is None

    @pytest.mark.parametrize("release", ["24.09", "24.10", "25.03", "100.01"])
    def test_new_enough_for_a_deployment(self, release: str) -> None:
        """Sites take a release from 24.09 on as a deployment of software."""
        assert reason_against_sw_deploy(release, for_sw_deploy=True) is None

    def test_older(self) -> None:
        """A release that is older than the site's is not deployed there, with the contract's text (4.3)."""
        expected = Ineligibility(
            skip=False,
            text=(
                "Prestage failed 'site1': The requested software version (9.9) is lower than the current subcloud "
                "software version (9.10)."
            ),
            failure_class=FailureClass.VERSION,
        )

        assert expected == check_release("site1", "9.9", "9.10", for_sw_deploy=True)


class TestSentences:
    def test_unreachable(self) -> None:
        """A site whose facts cannot be read fails with the contract's sentence alone."""
        expected = "Prestage failed 'site1': Failed to retrieve subcloud system mode and system health."

        kind = FailureClass.UNREACHABLE
        assert Ineligibility(skip=False, text=expected, failure_class=kind) == unreachable("site1")

    def test_unreachable_with_a_cause(self) -> None:
        """The cause follows the contract's sentence."""
        expected = "Prestage failed 'site1': Failed to retrieve subcloud system mode and system health. timed out"

        assert expected == unreachable("site1", "timed out").text

    def test_prefixes(self) -> None:
        """Skipping and failing differ in the prefix and in the kind."""
        assert Ineligibility(skip=True, text="Prestage skipped 'a': b") == skipped("a", "b")
        assert Ineligibility(skip=False, text="Prestage failed 'a': b") == failed("a", "b", FailureClass.CONTROLLER)

    def test_controller_upgrading(self) -> None:
        """The text for a controller that is busy is the contract's (3.3.2, row 15)."""
        expected = (
            "Prestage failed 'SystemController': Prestage operations not allowed while system controller upgrade is in "
            "progress."
        )

        assert expected == CONTROLLER_UPGRADING


class TestUnstage:
    @pytest.mark.parametrize("changes", [{"availability_status": "offline"}, {"busy_with": "prestaging-images"}])
    def test_a_site_that_is_not_ready_fails(self, changes: dict[str, str]) -> None:
        """A removal needs what a prestage needs of the site's status; where it is lacking it fails, and is no skip."""
        refusal = check_unstage(replace(GOOD, **changes), "23.09", "22.12")

        assert refusal is not None
        assert (False, f"Unstage failed '{GOOD.name}': ") == (refusal.skip, refusal.text[: len(GOOD.name) + 19])

    @pytest.mark.parametrize(("version", "is_refused"), [("23.09", True), ("23.09.1", True), ("22.12", False)])
    def test_the_running_release_stays(self, version: str, is_refused: bool) -> None:
        """The release that the site runs, or of which it runs a patch, is not removed."""
        refusal = check_unstage(GOOD, "23.09", version)

        assert is_refused is (refusal is not None and "which is never removed" in refusal.text)

    def test_a_removal_is_named_to_others(self) -> None:
        """A prestage of a site that a release is being removed from is refused with that reason."""
        refusal = check_status(replace(GOOD, busy_with="unstaging"))

        assert refusal is not None
        assert "A staged release is being removed" in refusal.text

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Prestage skipped 'a': It is busy.", "Unstage failed 'a': It is busy."),
            ("Prestage failed 'a': It is gone.", "Unstage failed 'a': It is gone."),
            ("a has no address.", "a has no address."),
        ],
    )
    def test_what_passes_a_prestage_over_fails_a_removal(self, text: str, expected: str) -> None:
        """A removal that was not done is never complete, and its sentence speaks of a removal."""
        assert Ineligibility(skip=False, text=expected) == as_unstage(Ineligibility(skip=True, text=text))
