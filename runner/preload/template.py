"""The template process: `python -m runner.preload.template`, started by the supervisor only.

Loads Ansible and ansible-runner once, then forks a run's child for each request. It has one thread, starts no
playbook but the trial run's, and gets no job and no secret: those go from the supervisor to the child by its own pipes.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from runner.private_dir import PrivateDir
from runner.process_limits import forbid_memory_dumps
from runner.processes import RUN_OPTION, TEMPLATE_OPTION

if TYPE_CHECKING:
    # It imports Ansible's runner, and that belongs after the preparation of this process.
    from runner.preload.run_process import LoadedAnsible

# Longest request, in bytes.
REQUEST_LIMIT_BYTES: Final = 128 * 1024
# The last message of a supervisor that has the template end; without it, the supervisor is dead.
DISMISSAL: Final = b"end"
_DESCRIPTORS: Final = 3
# Fields of /proc/self/stat (proc_pid_stat(5)), counted after the name.
_ARGUMENTS_FIELD: Final = 48 - 3


def main() -> None:
    """Serve until the supervisor closes its end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--private-dir", type=Path, required=True)
    parser.add_argument("--modules", type=Path, required=True)
    parser.add_argument("--ansible-playbook", type=Path, required=True)
    parser.add_argument("--has-our-config", action="store_true")
    parser.add_argument("--tries-pipelining", action="store_true")
    # For those who look for the templates of a worker; it is not read here.
    parser.add_argument(TEMPLATE_OPTION, required=True)
    # Place holder for the marker of each child.
    parser.add_argument(RUN_OPTION, required=True)
    options = parser.parse_args()
    forbid_memory_dumps()
    control = socket.socket(fileno=options.control)
    # Of the supervisor, which ends this process by closing its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    place = PrivateDir(options.private_dir)
    loaded, watched = _load(place, options)
    place.remove()
    if threading.active_count() != 1:
        raise RuntimeError(f"threads in the template: {threading.enumerate()}")
    gc.collect()
    gc.freeze()
    template = _Template(control, options.run, loaded)
    control.send(json.dumps({"ready": os.getpid(), "watched": watched}).encode())
    template.serve()
    place.remove()
    if not template.is_dismissed:
        # Templates that come after this one use them too; now there will be none.
        PrivateDir(options.modules).remove()
    # Not a normal exit: the exit functions are those of Ansible.
    os._exit(0)


def _load(place: PrivateDir, options: argparse.Namespace) -> tuple[LoadedAnsible, list[str]]:
    """Import Ansible in the environment that ansible-runner gives to playbooks, fill its caches, and try a run.

    Returns:
        It, and the directories outside of Ansible from which it loads plug-ins.
    """
    from ansible_runner.interface import init_runner  # noqa: PLC0415

    import runner.child  # noqa: F401, PLC0415
    from runner.playbook import runner_arguments  # noqa: PLC0415
    from runner.preload.ansible_state import plugin_places, prime  # noqa: PLC0415
    from runner.preload.run_process import LoadedAnsible  # noqa: PLC0415
    from runner.preload.trial_run import try_run, write_trial  # noqa: PLC0415

    program = options.ansible_playbook
    job, inventory = write_trial(place)
    planned = init_runner(**runner_arguments(job, place, inventory, program))
    given = dict(os.environ)
    os.environ.update({key: str(value) for key, value in planned.config.env.items()})
    prime()
    loaded = LoadedAnsible(
        environment=dict(os.environ), modules=options.modules, tries_pipelining=options.tries_pipelining
    )
    try_run(loaded, place, job, inventory, program, given=given, compares_text=options.has_our_config)
    return loaded, plugin_places()


@dataclass(frozen=True, kw_only=True)
class _Child:
    pid: int
    descriptor: int


class _Template:
    def __init__(self, control: socket.socket, marker: str, loaded: LoadedAnsible) -> None:
        self._control = control
        self._marker = marker
        self._loaded = loaded
        self.is_dismissed = False
        self._places = _marker_places(marker.encode())
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._reap(key.data)
                elif not self._take_request():
                    return

    def _take_request(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, REQUEST_LIMIT_BYTES, _DESCRIPTORS)
        if data in {b"", DISMISSAL}:
            self.is_dismissed = data == DISMISSAL
            return False
        try:
            self._fork(json.loads(data), descriptors)
        except OSError as error:
            self._answer({"error": str(error)})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, request: dict[str, Any], descriptors: Sequence[int]) -> None:
        pid = os.fork()
        if pid == 0:
            self._be_child(request, descriptors)
        # Before it can be reaped: the number is its own as long as nobody has waited for it.
        child = _Child(pid=pid, descriptor=os.pidfd_open(pid))
        self._selector.register(child.descriptor, selectors.EVENT_READ, child)
        socket.send_fds(self._control, [json.dumps({"forked": pid}).encode()], [child.descriptor])

    def _reap(self, child: _Child) -> None:
        self._selector.unregister(child.descriptor)
        os.close(child.descriptor)
        _, status = os.waitpid(child.pid, 0)
        self._answer({"ended": child.pid, "code": os.waitstatus_to_exitcode(status)})

    def _answer(self, message: dict[str, Any]) -> None:
        # A supervisor that is dead shows at the next look at its messages.
        with suppress(OSError):
            self._control.send(json.dumps(message).encode())

    def _be_child(self, request: dict[str, Any], descriptors: Sequence[int]) -> NoReturn:
        code = 1
        try:
            os.setsid()
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
            self._selector.close()
            os.closerange(_DESCRIPTORS, max(1024, *descriptors, self._control.fileno()) + 1)
            self._control.detach()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _mark(self._places, request["marker"].encode(), len(self._marker))
            os.environ.clear()
            os.environ.update(request["environment"])
            from runner.child import main as host_run  # noqa: PLC0415

            host_run(request["arguments"], self._loaded)
            code = 0
        except BaseException:  # noqa: BLE001
            sys.excepthook(*sys.exc_info())
        finally:
            with suppress(Exception):
                sys.stderr.flush()
            os._exit(code)


def _marker_places(marker: bytes) -> list[int]:
    """Return the addresses of the marker in the arguments and the environment that procfs shows of this process."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    begin, end, environment_begin, environment_end = (int(fields[_ARGUMENTS_FIELD + place]) for place in range(4))
    places = []
    for first, last in ((begin, end), (environment_begin, environment_end)):
        area = ctypes.string_at(first, last - first)
        found = area.find(marker)
        if found >= 0:
            places.append(first + found)
    return places


def _mark(places: Sequence[int], marker: bytes, length: int) -> None:
    """Show `marker` in procfs as this process's; it has the length of the template's own."""
    if len(marker) != length:
        raise ValueError(f"a marker of {length} bytes is needed, not {len(marker)}")
    for place in places:
        ctypes.memmove(place, marker, length)


if __name__ == "__main__":
    main()
