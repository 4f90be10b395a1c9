"""The alerts fire when they should, by Prometheus' own tool."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml

from tests.unit.deploy.deploy_files import ROOT

DIRECTORY = ROOT / "deploy" / "monitoring"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: bin/setup test")
@pytest.mark.parametrize("arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_by_promtool(arguments: tuple[str, ...]) -> None:
    """The rules are well formed, and each alert fires and rests in the cases that are written down for it."""
    ended = subprocess.run(["promtool", *arguments], cwd=DIRECTORY, capture_output=True, text=True, check=False)

    assert 0 == ended.returncode, ended.stdout + ended.stderr


def test_each_alert_is_tested_and_says_what_to_do() -> None:
    """No alert is without a test, a severity, a summary and an action."""
    rules = yaml.safe_load((DIRECTORY / "alerts.yml").read_text())["groups"][0]["rules"]
    cases = yaml.safe_load((DIRECTORY / "alerts_test.yml").read_text())["tests"]
    fired = {one["alertname"] for case in cases for one in case["alert_rule_test"] if one["exp_alerts"]}

    assert {rule["alert"] for rule in rules} == fired
    for rule in rules:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "action"} <= set(rule["annotations"]) <= {"summary", "action", "description", "runbook"}


def test_runbooks_are_there() -> None:
    """The section of the documents that an alert points to exists."""
    rules = yaml.safe_load((DIRECTORY / "alerts.yml").read_text())["groups"][0]["rules"]
    links = [rule["annotations"]["runbook"] for rule in rules if "runbook" in rule["annotations"]]

    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        titles = [line.lstrip("# ") for line in (ROOT / file).read_text().splitlines() if line.startswith("#")]
        assert anchor in {title.lower().replace(" ", "-") for title in titles}
