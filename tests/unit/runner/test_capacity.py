"""Rules of how many runs a machine bears."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from runner import capacity


def machine(monkeypatch: pytest.MonkeyPatch, *, cores: int, total: int, available: int = 0) -> None:
    """Pretend to be a machine without control group limits."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    memory = {"MemTotal": total, "MemAvailable": available}
    monkeypatch.setattr(capacity, "_machine_bytes", memory.__getitem__)
    monkeypatch.setattr(capacity, "_CGROUP", Path("/nowhere"))


@pytest.mark.parametrize(("cores", "gigabytes", "slots"), [(2, 4, 30), (2, 24, 64), (16, 64, 250), (1, 0.1, 1)])
def test_default_slots(monkeypatch: pytest.MonkeyPatch, cores: int, gigabytes: float, slots: int) -> None:
    """Slots follow memory and cores, at least 1 and at most 250."""
    machine(monkeypatch, cores=cores, total=int(gigabytes * 10**9))

    assert slots == capacity.default_slots()


@pytest.mark.parametrize(
    ("gigabytes", "slots", "mib"),
    [(4, 30, 256), (24, 64, 268), (24, 32, 536), (64, 1, 1024), (0.5, 1, 357), (1, 1000, 256)],
)
def test_memory_of_a_process(monkeypatch: pytest.MonkeyPatch, gigabytes: float, slots: int, mib: int) -> None:
    """A process of a run has the share of a slot, at least 256 MiB and at most 1 GiB."""
    machine(monkeypatch, cores=2, total=int(gigabytes * 10**9))

    assert mib == capacity.process_memory_bytes(slots) // 1024**2


def test_control_group_limits_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a container its limit counts, without the file cache that can be given back."""
    machine(monkeypatch, cores=8, total=10**11, available=10**11)
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 300000000\n")
    monkeypatch.setattr(capacity, "_CGROUP", tmp_path)

    assert 800_000_000 == capacity.available_bytes()
    assert 15 == capacity.default_slots()


def test_no_limit_means_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A control group without a limit leaves the machine's memory."""
    machine(monkeypatch, cores=2, total=10**10, available=5 * 10**9)
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(capacity, "_CGROUP", tmp_path)

    assert 5 * 10**9 == capacity.available_bytes()


def test_memory_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no limit is set, what the kernel counts as available can be had, and no more than all there is."""
    monkeypatch.setattr(capacity, "_CGROUP", Path("/nowhere"))

    assert 0 < capacity.available_bytes() < psutil.virtual_memory().total


def test_a_kernel_that_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A value that the kernel does not give is an error that names it, not zero bytes."""
    (tmp_path / "meminfo").write_text("MemTotal:  1000 kB\n")
    monkeypatch.setattr(capacity, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(capacity, "_CGROUP", Path("/nowhere"))

    with pytest.raises(OSError, match="MemAvailable"):
        capacity.available_bytes()
