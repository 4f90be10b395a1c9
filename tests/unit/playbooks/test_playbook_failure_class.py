"""Modules name the class of their failures, in words that Prestager knows."""

from __future__ import annotations

import ast
import errno
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.prestage.checksums import DamagedError
from ansible.module_utils.prestage.errors import PrestageError
from ansible.module_utils.prestage.results import report

from statemachine.states import FailureClass

ROOT = Path(__file__).parents[3] / "playbooks"


class Answered(Exception):  # noqa: N818 - the end of a module, as Ansible's own
    """The module has answered."""


class RecordingModule:
    """Keeps the answer, as AnsibleModule ends with it."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {}

    def fail_json(self, **answer: Any) -> None:
        """Keep a failure."""
        self.answer = answer
        raise Answered


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PrestageError("It broke."), "playbook"),
        (PrestageError("It is full.", "space"), "space"),
        (DamagedError("It is damaged."), "checksum"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/x"), "space"),
        (OSError(errno.EACCES, "Permission denied", "/x"), "playbook"),
    ],
)
def test_a_module_answers_the_class_of_its_error(error: Exception, kind: str) -> None:
    """What a module fails with is in its answer by class, beside the sentence."""
    module = RecordingModule()

    def work() -> dict[str, Any]:
        raise error

    with pytest.raises(Answered):
        report(module, work)
    assert module.answer["failure_class"] == kind
    assert module.answer["msg"]


def test_every_class_in_the_modules_is_one() -> None:
    """Each class that the source of a module names is one of Prestager's."""
    named = set()
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            is_error = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "PrestageError"
            if is_error and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                named.add(node.args[1].value)

    assert {"space", "checksum", "registry", "version", "controller"} <= named
    assert named <= {kind.value for kind in FailureClass}
