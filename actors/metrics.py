"""Interface of the counters that the actors increment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Metrics(Protocol):
    """Counts. Called from any thread on the way of every run, so it takes microseconds and never raises."""

    def expect_runs(self, phases: Iterable[str]) -> None:
        """Show the runs of these phases from now on, also while there are none."""

    def command_answered(self, kind: str, status: int) -> None:
        """Count a command that was answered; a repeat counts again."""

    def run_claimed(self, phase: str, waited_s: float) -> None:
        """Count a run that was taken `waited_s` seconds after it was handed out."""

    def run_ended(self, phase: str, outcome: str, took_s: float) -> None:
        """Count a run that ended here, `took_s` seconds after it was taken."""

    def lease_lost(self) -> None:
        """Count a run that was stopped because it was no longer this worker's, or could not be kept."""

    def result_fenced(self) -> None:
        """Count a result that was dropped because its run was no longer this worker's."""


class NullMetrics:
    """Counts nothing."""

    def expect_runs(self, phases: Iterable[str]) -> None:
        """Do nothing."""

    def command_answered(self, kind: str, status: int) -> None:
        """Do nothing."""

    def run_claimed(self, phase: str, waited_s: float) -> None:
        """Do nothing."""

    def run_ended(self, phase: str, outcome: str, took_s: float) -> None:
        """Do nothing."""

    def lease_lost(self) -> None:
        """Do nothing."""

    def result_fenced(self) -> None:
        """Do nothing."""
