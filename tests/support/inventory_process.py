"""A process that has loaded Ansible and becomes `ansible-inventory` in children, one for each line of its input.

A line has what the program is started with and the files for what it prints; the answer is its exit code.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from ansible import constants
from ansible.cli import inventory
from ansible.utils.collection_loader import _collection_finder as finder

_ROUTING = Path(inventory.__file__).parents[1] / "config" / "ansible_builtin_runtime.yml"


def _serve() -> None:
    _read_routing_once()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _be_the_program(json.loads(line))
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _read_routing_once() -> None:
    """Have children know where Ansible's own plugins are: to read it takes most of what is left of their time."""
    read = finder._meta_yml_to_dict
    known = {_ROUTING.read_bytes(): read(_ROUTING.read_bytes(), ("ansible.builtin", "runtime.yml"))}
    finder._meta_yml_to_dict = lambda text, name: known.get(text) or read(text, name)


def _be_the_program(request: dict[str, Any]) -> NoReturn:
    code: Any = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for place, path in enumerate(request["printed"], start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), place)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        # Settings that come from the environment; there is no configuration file.
        values = vars(constants)
        for name in constants.config.get_configuration_definitions():
            constants.set_constant(name, constants.config.get_config_value(name, variables=values), values)
        sys.argv = request["command"]
        code = inventory.main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


if __name__ == "__main__":
    _serve()
