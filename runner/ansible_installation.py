"""The Ansible that runs playbooks: ours, or one that the operator has installed for playbooks of others.

Made by the wiring from the settings. It says which program is run and in which environment, for runs and for checks of
playbooks alike. Variables of the environment win over any file: what is needed here stands in no configuration file.
"""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from runner.ssh_arguments import DEFAULT_SSH_ARGS

_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OUR_PROGRAM: Final = Path(sys.executable).with_name("ansible-playbook")
_OUR_CONFIG: Final = Path(__file__).with_name("ansible.cfg")
_CALLBACKS: Final = Path(__file__).with_name("callback_plugins")

# Of Ansible's SSH connections alone.
PIPELINING_VARIABLE: Final = "ANSIBLE_SSH_PIPELINING"

# Each is known to some Ansible from 2.10 on; others pass over it.
_NEEDED: Final[Mapping[str, str]] = {
    # The site's key is checked by arguments of its own inventory (runner/ssh_arguments.py). No other host gets a
    # password.
    "ANSIBLE_HOST_KEY_CHECKING": "False",
    # Other clients of SSH do not check the key.
    "ANSIBLE_TRANSPORT": "ssh",
    "ANSIBLE_SSH_ARGS": DEFAULT_SSH_ARGS,
    # Below the directory that the run names.
    "ANSIBLE_SSH_CONTROL_PATH": "",
    # ssh asks a program of Ansible for the password: no sshpass needed. It needs OpenSSH 8.4 (or no terminal, as here).
    # Ansible before 2.19 does not know it, and needs sshpass.
    "ANSIBLE_SSH_PASSWORD_MECHANISM": "ssh_askpass",
    # Nobody is there to answer.
    "ANSIBLE_ASK_PASS": "False",
    "ANSIBLE_BECOME_ASK_PASS": "False",
    "ANSIBLE_ASK_VAULT_PASS": "False",
    "ANSIBLE_ENABLE_TASK_DEBUGGER": "False",
    # Keeps why a run failed; see runner/callback_plugins. Ansible before 2.11 needs no leave to load it. Others, which
    # may write down what tasks answer, are not loaded: the second name is that of Ansible before 2.11.
    "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS),
    "ANSIBLE_CALLBACKS_ENABLED": "prestager_failures",
    "ANSIBLE_CALLBACK_WHITELIST": "prestager_failures",
    "ANSIBLE_STDOUT_CALLBACK": "default",
    "ANSIBLE_NOCOLOR": "True",
    "ANSIBLE_FORCE_COLOR": "False",
    "ANSIBLE_NOCOWS": "True",
    "ANSIBLE_VERBOSITY": "0",
    "ANSIBLE_DEBUG": "False",
    # What is printed is kept with secrets masked, and nowhere else.
    "ANSIBLE_LOG_PATH": os.devnull,
    "ANSIBLE_RETRY_FILES_ENABLED": "False",
    # The inventory of a run is YAML. Another plugin would take the lines of the file with the passwords for hosts.
    "ANSIBLE_INVENTORY_ENABLED": "yaml",
    # What one site answers is nothing to the run of another.
    "ANSIBLE_CACHE_PLUGIN": "memory",
    "ANSIBLE_LOCALHOST_WARNING": "False",
    # One host per run.
    "ANSIBLE_FORKS": "1",
}


def base_environment(program: Path | None = None) -> dict[str, str]:
    """Return what every program gets that is run for a site, `program` if it is given.

    The directory of `program`, by default that of our Python, is looked into first. HOME is the user's real one: ssh
    keys, collections and registry logins are there.
    """
    return {
        "PATH": f"{(program or Path(sys.executable)).parent}:{_SYSTEM_PATH}",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "HOME": pwd.getpwuid(os.getuid()).pw_dir,
    }


def set_environment(*, is_ours: bool) -> dict[str, str]:
    """Return what the environment of a playbook has because of the set that it belongs to.

    Facts that a site answers stay out of the variables of our playbooks. In sets of others conditions may be what
    Ansible took before 2.19, such as a list.
    """
    return {"ANSIBLE_INJECT_FACT_VARS": "False"} if is_ours else {"ANSIBLE_ALLOW_BROKEN_CONDITIONALS": "True"}


@dataclass(frozen=True, kw_only=True)
class AnsibleInstallation:
    """One `ansible-playbook` with what it reads beside playbooks.

    Attributes:
        program: Absolute path of the `ansible-playbook`.

        collections: Directories in which collections are looked for; empty: those that Ansible looks into by itself.

        config: Absolute path of a configuration file; what is needed here wins over it.

        pipelining: Whether modules go to sites through the SSH connection, without a file there. None: as `config`
            says; where that says nothing, forked runs do so where a trial succeeds, and others do not.

        niceness: At which the processes of runs are started, unless this process has a greater one (see nice(2)).
    """

    program: Path = _OUR_PROGRAM
    collections: tuple[Path, ...] = ()
    config: Path = _OUR_CONFIG
    pipelining: bool | None = None
    niceness: int = field(default=0, repr=False)

    @property
    def is_of_this_program(self) -> bool:
        """Whether it is the Ansible of this program's own environment, which processes of this program can import."""
        return self.program == _OUR_PROGRAM

    @property
    def has_our_config(self) -> bool:
        """Whether its configuration file is ours."""
        return self.config == _OUR_CONFIG

    def lacks_sshpass(self) -> bool:
        """Tell whether a run finds no program `sshpass`; ours needs none, so it never lacks it."""
        return (
            not self.is_of_this_program and shutil.which("sshpass", path=base_environment(self.program)["PATH"]) is None
        )

    def environment(self, tmp: Path) -> dict[str, str]:
        """Return the environment in which `program` loads a playbook, apart from what `set_environment` returns.

        `tmp` gets the temporary files. Nothing of this process's own environment is in it.
        """
        found = {"ANSIBLE_COLLECTIONS_PATH": ":".join(map(str, self.collections))} if self.collections else {}
        pipelining = {} if self.pipelining is None else {PIPELINING_VARIABLE: str(self.pipelining)}
        return {
            **base_environment(self.program),
            **_NEEDED,
            **found,
            **pipelining,
            "ANSIBLE_CONFIG": str(self.config),
            "ANSIBLE_LOCAL_TEMP": str(tmp),
            "TMPDIR": str(tmp),
        }
