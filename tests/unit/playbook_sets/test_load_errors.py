"""Sentences made of what `ansible-playbook --syntax-check` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from playbook_sets.load_errors import load_error

SET = Path("/opt/set")
NEW_PLACE = "Origin: /opt/set/roles/a/tasks/main.yml:20:3\n\n18 # x\n20 - secret: hunter2\n     ^ column 3\n"
OLD_PLACE = (
    "\nThe error appears to be in '/opt/set/roles/a/tasks/main.yml': line 20, column 3, but may\nbe elsewhere in the"
    " file depending on the exact syntax problem.\n\nThe offending line appears to be:\n\n- secret: hunter2\n"
)
PLACE = "roles/a/tasks/main.yml, line 20,"
BARE = PLACE.rstrip(",")
COLLECTIONS = (
    "Install prestager[starlingx], or set PRESTAGER_ANSIBLE_COLLECTIONS to the directories that have its collection."
)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "couldn't resolve module/action 'xml'. This often indicates a misspelling, missing collection, or incorrect"
            " module path.",
            f"{PLACE} needs the module xml, which this Ansible does not have. {COLLECTIONS}",
        ),
        (
            "The 'ansible.builtin.include' action plugin has been removed. Use include_tasks or import_tasks instead."
            " This feature was removed from ansible-core in a release after 2023-05-16.",
            f"{PLACE} uses a bare 'include', which Ansible has not had since 2.16. Set PRESTAGER_ANSIBLE to the"
            " ansible-playbook of an Ansible before 2.16.",
        ),
        (
            "couldn't resolve module/action 'include'. This often indicates a misspelling, missing collection, or"
            " incorrect module path.",
            f"{PLACE} uses a bare 'include', which Ansible has not had since 2.16. Set PRESTAGER_ANSIBLE to the"
            " ansible-playbook of an Ansible before 2.16.",
        ),
        (
            "the role 'x/y' was not found in /opt/set/roles:/root/.ansible/roles",
            f"{PLACE} needs the role x/y, which is not there. Put it into the directory roles beside the playbooks in"
            " PRESTAGER_PLAYBOOKS_DIR.",
        ),
        (
            "the role 'foo.bar.baz' was not found in foo.bar:ansible.legacy:/opt/set/roles",
            f"{PLACE} needs the collection of foo.bar.baz, which this Ansible does not have. {COLLECTIONS}",
        ),
        (
            "Conditional expressions must be strings.",
            f"{PLACE} has a condition that this Ansible does not take, such as a list. Set PRESTAGER_ANSIBLE to the"
            " ansible-playbook of an Ansible before 2.19.",
        ),
        (
            "YAML parsing failed: Colons in unquoted values must be followed by a non-space character.",
            f"{PLACE} is not valid YAML. Correct it.",
        ),
        (
            "Attempting to decrypt but no vault secrets found.",
            f"{PLACE} is encrypted with Ansible Vault. Decrypt it, or name the file of its vault password in"
            " PRESTAGER_ANSIBLE_CONFIG.",
        ),
        ("'foo' is not a valid attribute for a Task", f"Ansible cannot load {BARE}: 'foo' is not a valid attribute"),
    ],
)
def test_kinds_of_errors(message: str, sentence: str) -> None:
    """The sentence says where it is, what is wrong and what to do, for Ansible since 2.19 and before alike."""
    for printed in (
        f"[WARNING]: Error loading plugin\n[ERROR]: {message}\n{NEW_PLACE}",
        f"ERROR! {message}\n{OLD_PLACE}",
    ):
        found = load_error(printed, SET)

        assert found is not None
        assert found.startswith(sentence)


def test_yaml_of_the_older_kind() -> None:
    """Before 2.19 an error of YAML comes with JSON's, on several lines."""
    printed = (
        "ERROR! We were unable to read either as JSON nor YAML, these are the errors we got from each:\nJSON: Expecting"
        " value: line 1 column 1 (char 0)\n\nSyntax Error while loading YAML.\n  did not find expected '-' indicator\n"
        + OLD_PLACE
    )

    assert f"{PLACE} is not valid YAML. Correct it." == load_error(printed, SET)


def test_a_file_that_is_not_there() -> None:
    """A file that is missing is named, from the directory of the playbooks on."""
    printed = (
        "[ERROR]: Unable to retrieve file contents.\nCould not find or access '/opt/set/gone.yml' on the Ansible"
        " Controller.\nIf you are using a module and expect the file to exist on the remote, see the remote_src option"
    )

    assert (
        "A playbook needs the file gone.yml, which is not there or cannot be read by this user. Put it there, or give"
        " this user the right to read it."
    ) == load_error(printed, SET)


@pytest.mark.parametrize(
    "message",
    [
        "failed at splitting arguments, either an unbalanced jinja2 block or quotes: echo 'hunter2",
        "failed at splitting arguments, either an unbalanced jinja2 block or quotes: curl -u a:hunter2 'x",
        "template error while templating string: unexpected '}'. String: {{ hunter2 }",
        "unexpected parameter my_password=hunter2 in a task",
        'bad value {"api_key": "hunter2"}',
        "The lookup plugin 'pipe' failed: lookup_plugin.pipe(curl -u admin:hunter2 http://x/) returned 7.",
        "A malformed block was encountered while loading a block: The ds (['mysql -phunter2 x']) should be a dict but"
        " was a <class 'list'>",
        "Invalid vars_files entry found: {'a': 'hunter2'}",
        "Invalid old style role requirement: geerlingguy.x,v1,hunter2",
        "Unexpected templating type error occurred on ({{ 'hunter2' + 1 }}): can only concatenate str",
        "Unexpected templating type error occurred on ({{ 'hunter2' + 1",
        "original message: Failed lookup url for http://admin:hunter2@127.0.0.1:1/x : <urlopen error>",
    ],
)
def test_no_secret(message: str) -> None:
    """Nothing of a file is quoted but what Ansible's message says, and of that no value with the name of a secret."""
    for printed in (f"[ERROR]: {message}\n{NEW_PLACE}", f"ERROR! {message}\n{OLD_PLACE}"):
        found = load_error(printed, SET)

        assert found is not None
        assert f"Ansible cannot load {BARE}: " in found
        assert "hunter2" not in found


def test_a_long_message() -> None:
    """A message is one line of bounded length without control characters."""
    found = load_error("[ERROR]: \x1b" + "x" * 100_000 + "\nmore", SET)

    assert found is not None
    assert "\n" not in found
    assert "\x1b" not in found
    assert len(found) < 400


@pytest.mark.parametrize(
    "printed",
    [
        "[WARNING]: something\n\nplaybook: /opt/set/a.yml\n",
        "[ERROR]: Error when evaluating variable in import path '{{ nothing }}.yml': 'nothing' is undefined\n",
        "ERROR! Error when evaluating variable in import path: {{ nothing }}.yml.\n\nWhen using static imports\n",
    ],
)
def test_no_error(printed: str) -> None:
    """Warnings are no errors, and names that a run's variables complete cannot be judged before it."""
    assert load_error(printed, SET) is None
