"""Rules of the environment that playbooks are loaded in, for runs and for checks alike."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ansible_runner
import pytest
from pydantic import ValidationError

from runner.ansible_installation import AnsibleInstallation, base_environment, set_environment
from runner.ssh_arguments import DEFAULT_SSH_ARGS
from service.controller import ansible_installation
from service.settings import Settings

CALLBACKS = Path(__file__).parents[3] / "runner" / "callback_plugins"

OLDER_PYTHON = Path(__file__).parents[3] / ".venv-ansible-older" / "bin" / "python"

# A file of an operator that would break runs, show secrets, or weaken the check of host keys.
HOSTILE = """\
[defaults]
host_key_checking = True
transport = paramiko
ask_pass = True
ask_vault_pass = True
enable_task_debugger = True
stdout_callback = json
callbacks_enabled = profile_tasks
callback_whitelist = profile_tasks
callback_plugins = /nowhere
nocolor = False
force_color = True
nocows = False
verbosity = 4
log_path = {directory}/ansible.log
retry_files_enabled = True
fact_caching = jsonfile
forks = 50
local_tmp = {directory}/local
timeout = 7
roles_path = /opt/roles
[inventory]
enable_plugins = ini
[privilege_escalation]
become_ask_pass = True
[ssh_connection]
ssh_args = -o StrictHostKeyChecking=no
control_path = /somewhere/%%h
password_mechanism = disable
"""


def settings(**given: Any) -> Settings:
    """Return settings of which only some are given."""
    return Settings(data_dir=Path("/nowhere"), **given)


class TestSettings:
    def test_ours_by_default(self, tmp_path: Path) -> None:
        """Without settings it is the ansible-playbook beside our Python, with our file and Ansible's own paths."""
        ours = ansible_installation(settings())

        assert AnsibleInstallation(niceness=10) == ours
        assert Path(sys.executable).with_name("ansible-playbook") == ours.program
        assert "ANSIBLE_COLLECTIONS_PATH" not in ours.environment(tmp_path)

    def test_the_operators(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Program and file may be named relative to the working directory; symbolic links of a program stay."""
        monkeypatch.chdir(tmp_path)
        Path("ansible-playbook").symlink_to("/bin/true")
        found = ansible_installation(
            settings(ansible="ansible-playbook", ansible_collections="/a:/b c:", ansible_config="own.cfg")
        )

        assert tmp_path / "ansible-playbook" == found.program
        assert (Path("/a"), Path("/b c")) == found.collections
        assert tmp_path / "own.cfg" == found.config

    @pytest.mark.parametrize(
        ("given", "expected"), [({}, None), ({"ssh_pipelining": "true"}, "True"), ({"ssh_pipelining": False}, "False")]
    )
    def test_pipelining(self, given: dict[str, Any], expected: str | None, tmp_path: Path) -> None:
        """`true` and `false` win over the file; `auto`, the default, leaves it to the file, or to a trial."""
        found = ansible_installation(settings(**given)).environment(tmp_path)

        assert expected == found.get("ANSIBLE_SSH_PIPELINING")

    def test_collections_are_absolute(self) -> None:
        """Directories of collections are absolute: Ansible takes others relative to the run's own directory."""
        with pytest.raises(ValidationError, match="must be absolute paths such as"):
            settings(ansible_collections="/a:collections")


class TestEnvironment:
    def test_nothing_leaks_into_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing of this process's environment is in that of a playbook; another Ansible sees no Python of ours."""
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "ANSIBLE_LIBRARY", "PATH"):
            monkeypatch.setenv(name, "/leaked")
        found = AnsibleInstallation(program=Path("/opt/a/bin/ansible-playbook")).environment(tmp_path)

        assert {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "ANSIBLE_LIBRARY"}.isdisjoint(found)
        path = found["PATH"].split(":")
        assert "/opt/a/bin" == path[0]
        assert str(Path(sys.executable).parent) not in path
        assert base_environment()["PATH"].startswith(f"{Path(sys.executable).parent}:")

    def test_the_operators_file_is_read_and_loses(self, tmp_path: Path) -> None:
        """Ansible itself takes what runs need from the environment, and everything else from the operator's file."""
        config = tmp_path / "ansible.cfg"
        config.write_text(HOSTILE.format(directory=tmp_path))
        found = ansible_values(AnsibleInstallation(config=config).environment(tmp_path / "runs"))

        assert {
            "HOST_KEY_CHECKING": False,
            "DEFAULT_TRANSPORT": "ssh",
            "DEFAULT_ASK_PASS": False,
            "DEFAULT_ASK_VAULT_PASS": False,
            "DEFAULT_BECOME_ASK_PASS": False,
            "ENABLE_TASK_DEBUGGER": False,
            "DEFAULT_STDOUT_CALLBACK": "default",
            "CALLBACKS_ENABLED": ["prestager_failures"],
            "DEFAULT_CALLBACK_PLUGIN_PATH": [str(CALLBACKS)],
            "ANSIBLE_NOCOLOR": True,
            "ANSIBLE_FORCE_COLOR": False,
            "ANSIBLE_NOCOWS": True,
            "DEFAULT_VERBOSITY": 0,
            "DEFAULT_LOG_PATH": os.devnull,
            "RETRY_FILES_ENABLED": False,
            "CACHE_PLUGIN": "memory",
            "INVENTORY_ENABLED": ["yaml"],
            "DEFAULT_FORKS": 1,
            "ssh.ssh_args": DEFAULT_SSH_ARGS,
            "ssh.control_path": "",
            "ssh.password_mechanism": "ssh_askpass",
            "ssh.host_key_checking": False,
        }.items() <= found.items()
        assert found["DEFAULT_LOCAL_TMP"].startswith(f"{tmp_path / 'runs'}/")
        assert (7, ["/opt/roles"]) == (found["DEFAULT_TIMEOUT"], found["DEFAULT_ROLES_PATH"])

    @pytest.mark.skipif(
        sys.version_info[:2] != (3, 11) and not OLDER_PYTHON.exists(), reason="the older Ansible needs Python 3.11"
    )
    def test_no_other_callbacks_of_an_older_ansible(self, tmp_path: Path) -> None:
        """Ansible before 2.11, too, loads no callback of the operator's file: it may write down what tasks answer."""
        config = tmp_path / "ansible.cfg"
        config.write_text(HOSTILE.format(directory=tmp_path))
        done = subprocess.run(
            [OLDER_PYTHON, "-c", "from ansible import constants; print(constants.DEFAULT_CALLBACK_WHITELIST)"],
            env=AnsibleInstallation(config=config).environment(tmp_path / "runs"),
            capture_output=True,
            text=True,
            check=True,
        )

        assert "['prestager_failures']\n" == done.stdout

    @pytest.mark.parametrize(
        ("is_ours", "name", "value"),
        [(True, "INJECT_FACTS_AS_VARS", False), (False, "ALLOW_BROKEN_CONDITIONALS", True)],
    )
    def test_of_a_set(self, tmp_path: Path, is_ours: bool, name: str, value: object) -> None:
        """A site's facts are no variables of our playbooks; in sets of others any value may be a condition."""
        ansible = AnsibleInstallation().environment(tmp_path)
        found = ansible_values({**ansible, **set_environment(is_ours=is_ours)})
        other = ansible_values({**ansible, **set_environment(is_ours=not is_ours)})

        assert value == found[name]
        assert value != other[name]


def ansible_values(environment: dict[str, str]) -> dict[str, Any]:
    """Return Ansible's own settings and those of its ssh connection in an environment."""
    program = (
        "import json; from ansible import constants as C; from ansible.plugins.loader import connection_loader;"
        "names = [name for name in C.config.get_configuration_definitions() if name[0] != '_'];"
        "found = {name: C.config.get_config_value(name) for name in names};"
        "connection_loader.find_plugin('ssh'); connection_loader.get('ssh', class_only=True);"
        "options = ('ssh_args', 'control_path', 'password_mechanism', 'host_key_checking');"
        "value = lambda name: C.config.get_config_value(name, plugin_type='connection', plugin_name='ssh');"
        "found.update({'ssh.' + name: value(name) for name in options});"
        "print(json.dumps(found, default=str))"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    "plugin",
    [
        CALLBACKS / "prestager_failures.py",
        Path(ansible_runner.__file__).parent / "display_callback" / "callback" / "awx_display.py",
    ],
    ids=lambda path: path.stem,
)
def test_callbacks_load_with_an_older_python(plugin: Path) -> None:
    """What another Ansible loads of ours, and of ansible-runner, is written for Python 3.8 (StarlingX has 3.9)."""
    ast.parse(plugin.read_text(encoding="utf-8"), feature_version=(3, 8))
