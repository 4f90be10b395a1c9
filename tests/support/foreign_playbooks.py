"""Stand-ins for StarlingX's own playbooks: they write down what they were given, and say what upstream's say.

They ask for their variables as upstream's do (contract 10), in roles below `roles/prestage`, and know nothing of ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

VERSIONS: Final = "for-install: None - for-sw-deploy: 23.09.1"

# What Ansible itself adds to the variables of a host.
_MAGIC: Final = frozenset(
    {
        "ansible_check_mode",
        "ansible_config_file",
        "ansible_diff_mode",
        "ansible_facts",
        "ansible_forks",
        "ansible_inventory_sources",
        "ansible_playbook_python",
        "ansible_run_tags",
        "ansible_skip_tags",
        "ansible_verbosity",
        "ansible_version",
        "group_names",
        "groups",
        "inventory_dir",
        "inventory_file",
        "inventory_hostname",
        "inventory_hostname_short",
        "omit",
        "playbook_dir",
    }
)

_PLAYBOOK: Final = """\
- hosts: all
  gather_facts: no
  vars:
    prestage_type: {kind}
  roles:
    - role: prestage/prepare-env
    {more}
"""

_RECORD: Final = """\
- name: Fail if software version for prestaging is not specified
  fail:
    msg: Please specify software version for prestaging.
  when: {wanted} is not version("10.04", ">=")

- name: Log in at the site
  raw: id
  changed_when: false

- name: Write down what was given
  copy:
    content: "{{{{ hostvars[inventory_hostname] | to_json }}}}"
    dest: "{records}/{{{{ prestage_type }}}}-{{{{ inventory_hostname }}}}.json"
    mode: "0600"
    decrypt: false
  delegate_to: localhost
"""

_REASON: Final = """
- name: Fail if the reason is not one of two
  fail:
    msg: "What is it for? {{ prestage_reason }}"
  when: prestage_reason not in ["for_install", "for_sw_deploy"]
"""

_TELL: Final = f"""\
- name: Set the labels
  set_fact:
    labelled: "{VERSIONS}"

- name: Print prestage versions
  debug:
    msg: "prestage_versions: {{{{ labelled }}}}"
"""

_PREPARE: Final = """\
- hosts: all
  gather_facts: no
  vars:
    prestage_type: prepare
  tasks:
    - include_tasks: roles/prestage/prepare-env/tasks/main.yml
      vars:
        software_version: "{{ current_software_version }}"
"""


# As StarlingX's sets ask for it until 2026: without the collection in front of its name.
_ASK_COLLECTION: Final = """
- name: Read what may be upgraded
  xml:
    path: "{{ playbook_dir }}/metadata.xml"
  delegate_to: localhost
  register: read

- name: Tell that there is something
  set_fact:
    # Neither true nor false, but a list.
    upgradable_from: "{{ read.matches }}"
  when: read.matches

- name: Fail without it
  fail:
    msg: There was nothing.
  when: upgradable_from is not defined
"""

# Of the name that Ansible itself knows for `xml`.
_COLLECTION_MODULE: Final = """\
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule(argument_spec={"path": {"type": "path"}})
module.exit_json(matches=["22.12"])
"""


class ForeignPlaybooks:
    """A set of playbooks in `directory`, which is made, and what it wrote down."""

    def __init__(self, directory: Path, *, prepares: bool, takes_reason: bool) -> None:
        self.directory = directory
        self._records = directory / "records"
        self._records.mkdir(parents=True)
        recording = _RECORD.format(wanted="software_version", records=self._records)
        self._role("prepare-env", recording + (_REASON if takes_reason else ""))
        if takes_reason:
            self._role("get-prestage-versions", _TELL)
        if prepares:
            (directory / "prepare_prestage_packages.yml").write_text(_PREPARE)
        telling = "- role: prestage/get-prestage-versions" if takes_reason else ""
        (directory / "prestage_sw_packages.yml").write_text(_PLAYBOOK.format(kind="packages", more=telling))
        (directory / "prestage_images.yml").write_text(_PLAYBOOK.format(kind="images", more=""))

    def given(self, kind: str, site: str) -> dict[str, Any]:
        """Return the variables that the playbook `kind` had for a site, without Ansible's own."""
        record = json.loads((self._records / f"{kind}-{site}.json").read_text())
        return {name: value for name, value in record.items() if name not in _MAGIC}

    def ansible_version(self, kind: str, site: str) -> str:
        """Return the version of Ansible that ran the playbook `kind` for a site."""
        record = json.loads((self._records / f"{kind}-{site}.json").read_text())
        return str(record["ansible_version"]["full"])

    def played(self) -> set[str]:
        """Return `<kind>-<site>` of every playbook that ran."""
        return {path.stem for path in self._records.iterdir()}

    def include(self, role: str) -> None:
        """Have a role of `prestage` bring its tasks in by the bare `include`, which is gone since Ansible 2.16."""
        main = self._tasks(role) / "main.yml"
        main.rename(main.with_name("included.yml"))
        main.write_text("- include: included.yml\n")

    def ask_collection(self, role: str) -> Path:
        """Have a role of `prestage` use a module of a collection, and a list as a condition.

        Returns:
            The directory of collections.
        """
        with (self._tasks(role) / "main.yml").open("a") as main:
            main.write(_ASK_COLLECTION)
        # Not beside the playbooks, where Ansible looks anyway.
        collections = self.directory.with_name("collections")
        modules = collections / "ansible_collections" / "community" / "general" / "plugins" / "modules"
        modules.mkdir(parents=True)
        (modules / "xml.py").write_text(_COLLECTION_MODULE)
        return collections

    def _tasks(self, role: str) -> Path:
        return self.directory / "roles" / "prestage" / role / "tasks"

    def _role(self, name: str, tasks: str) -> None:
        place = self._tasks(name)
        place.mkdir(parents=True)
        (place / "main.yml").write_text(tasks)


def seed_set(directory: Path) -> ForeignPlaybooks:
    """Write a set of the time of the first prestage: with a prepare playbook, without a reason."""
    return ForeignPlaybooks(directory, prepares=True, takes_reason=False)


def set_between(directory: Path) -> ForeignPlaybooks:
    """Write a set of the years between: no prepare playbook any more, and no reason yet."""
    return ForeignPlaybooks(directory, prepares=False, takes_reason=False)


def newer_set(directory: Path) -> ForeignPlaybooks:
    """Write a set of today: no prepare playbook, a reason, and versions that its log prints."""
    return ForeignPlaybooks(directory, prepares=False, takes_reason=True)
