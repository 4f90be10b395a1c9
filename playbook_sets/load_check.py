"""Load the playbooks of a set with Ansible as a run would: `ansible-playbook --syntax-check` in a run's environment.

An Ansible that would find no `sshpass`, and needs it to log in at sites, counts as one that cannot load them.

One process loads all playbooks of the set. It takes one to three seconds of a core, so that a set that loaded is not
loaded again before a file changes that Ansible reads then.
"""

from __future__ import annotations

import resource
import subprocess
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final

from messages.secret_names import mask_fields
from playbook_sets.load_errors import config_error, load_error, prints_error, sshpass_error
from playbook_sets.playbook_set import PLAYBOOKS, read_playbook_set
from runner.ansible_installation import AnsibleInstallation, set_environment
from runner.failure_text import sentence
from runner.load_fingerprint import LoadedSets, fingerprint
from runner.private_dir import PrivateDir, default_run_root, private_dir
from runner.processes import MARKER, end_processes, marked, marker_value

# How long loading a set may take, in seconds.
DEADLINE_S: Final = 120.0
# Memory that its process may have, and how much it may print, in bytes.
_MEMORY_BYTES: Final = 1024 * 1024 * 1024
_OUTPUT_BYTES: Final = 256 * 1024
_LAST_WORDS: Final = 200
_INVENTORY: Final = "all: {hosts: {site: {}}}\n"
# What Ansible prints of each playbook that it loaded.
_LOADED: Final = "playbook: "
_SET_PROGRAM: Final = "Set PRESTAGER_ANSIBLE to the ansible-playbook of an Ansible that works"


class LoadCheck:
    """Loads one set with one Ansible. Callable from any thread; one check at a time is made.

    Args:
        directory: That of the playbooks.

        ansible: What loads them.

        worker: Name that marks the processes of the check; a worker's own, so that its next start ends what was left.

        run_root: Directory for the files of the check and for what is remembered; default: that of runs.

        deadline_s: How long one check may take, in seconds.
    """

    def __init__(
        self,
        directory: Path,
        ansible: AnsibleInstallation,
        *,
        worker: str,
        run_root: Path | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._directory = directory.absolute()
        self._ansible = ansible
        self._worker = worker
        self._run_root = run_root
        self._deadline_s = deadline_s
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def fingerprint(self) -> str:
        """Return a digest of all that decides whether the set loads; no file is read for it."""
        return fingerprint(self._directory, self._ansible)

    def first_error(self, *, again: bool = False) -> str | None:
        """Return the first error in a sentence with its remedy, None without one.

        A set that loaded is not loaded again while its fingerprint stays, by this and by later processes of this user,
        unless `again`.

        Raises:
            NoRunRootError: There is no directory for the files of the check.

            OSError: The files of the check cannot be written.
        """
        with self._lock:
            root = self._run_root or default_run_root()
            loaded, current = LoadedSets(root, self._directory, self._ansible), self.fingerprint()
            if not again and loaded.has(current):
                return None
            error = self._load(root)
            # What was changed meanwhile has not been looked at.
            if error is None and self.fingerprint() == current:
                loaded.add(current)
            return error

    def stop(self) -> None:
        """End a check that goes on, and make no more."""
        self._is_stopped = True
        process = self._process
        if process is not None:
            process.kill()

    def _load(self, root: Path) -> str | None:
        check_id = uuid.uuid4().hex[:12]
        place = private_dir(root, self._worker, check_id)
        place.create()
        try:
            place.hosts_file.write_text(_INVENTORY)
            playbooks = [str(self._directory / PLAYBOOKS[phase]) for phase in read_playbook_set(self._directory).phases]
            process = self._start(place, check_id, ["--syntax-check", "-i", str(place.hosts_file), *playbooks])
            if isinstance(process, str):
                return process
            return self._judge(self._exit_code(process), _printed(place)) or self._login_error(place, check_id)
        finally:
            end_processes(lambda: marked(self._worker, check_id), grace_s=0.0)
            place.remove()

    def _login_error(self, place: PrivateDir, check_id: str) -> str | None:
        """Return a sentence about an Ansible that cannot give a password to ssh; None: it can."""
        if not self._ansible.lacks_sshpass():
            return None
        process = self._start(place, check_id, ["--version"])
        if isinstance(process, str):
            return process
        _ = self._exit_code(process)
        return sshpass_error(_printed(place), self._ansible.program)

    def _start(self, place: PrivateDir, check_id: str, arguments: Sequence[str]) -> subprocess.Popen[bytes] | str:
        """Return the process, or a sentence about a program that cannot be run."""
        program = self._ansible.program
        with _output_file(place).open("wb") as output:
            try:
                return subprocess.Popen(  # noqa: S603
                    [str(program), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=place.path,
                    env=self._environment(place, check_id),
                    start_new_session=True,
                )
            except (FileNotFoundError, NotADirectoryError):
                return f"{program} is not there, or the interpreter in its first line is not. {_SET_PROGRAM}."
            except OSError as error:
                return f"{program} cannot be run by this user: {error.strerror}. {_SET_PROGRAM}."

    def _exit_code(self, process: subprocess.Popen[bytes]) -> int | None:
        """Return the exit code of a process, None if it was not done in time and was ended."""
        self._process = process
        with suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_OUTPUT_BYTES, _OUTPUT_BYTES))
        if self._is_stopped:
            process.kill()
        try:
            return process.wait(self._deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None
        finally:
            self._process = None

    def _environment(self, place: PrivateDir, check_id: str) -> dict[str, str]:
        return {
            **self._ansible.environment(place.tmp),
            **set_environment(is_ours=read_playbook_set(self._directory).is_ours),
            MARKER: marker_value(self._worker, check_id),
        }

    def _judge(self, code: int | None, printed: str) -> str | None:
        wrong = config_error(printed, self._ansible.config)
        if wrong is not None:
            return wrong
        if prints_error(printed):
            return load_error(printed, self._directory)
        if code is None:
            return (
                f"The playbooks in {self._directory} did not load within {self._deadline_s:g} s, which is tried again."
                " Look whether their file system answers and whether the machine is overloaded."
            )
        if code == 0 and _LOADED in printed:
            return None
        # Masked before it is cut: a secret is recognised by its name, which may be cut off.
        last = mask_fields(printed.strip().rpartition("\n")[2], "********")[-_LAST_WORDS:]
        told = f", and printed last: {last}" if last else " without a word"
        return sentence(f"{self._ansible.program} is no Ansible that works: it ended with code {code}{told}.") + (
            f" {_SET_PROGRAM}."
        )


def _output_file(place: PrivateDir) -> Path:
    return place.path / "output"


def _printed(place: PrivateDir) -> str:
    with _output_file(place).open("rb") as output:
        return output.read(_OUTPUT_BYTES).decode("utf-8", "replace")
