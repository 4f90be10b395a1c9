"""Machine id and directories of the system controller."""

from __future__ import annotations

import socket
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from db.database import Database
from db.inventory import installation_id
from runner.ansible_installation import AnsibleInstallation
from runner.phase_playbooks import ControllerLayout
from service.settings import Settings
from statemachine.phases import PHASES


def machine_id() -> str:
    """Return an id of this machine: a digest of its machine id, or of its host name."""
    try:
        own = Path("/etc/machine-id").read_text().strip()
    except OSError:
        own = ""
    return sha256((own or socket.gethostname()).encode()).hexdigest()[:12]


def ansible_installation(settings: Settings) -> AnsibleInstallation:
    """Return the Ansible that runs playbooks. Nothing of it need be there."""
    # Not resolved: the program of a virtual environment finds the environment by the path that it is run by.
    ours = AnsibleInstallation(collections=settings.collection_paths)
    return replace(
        ours,
        program=settings.ansible.absolute() if settings.ansible else ours.program,
        config=settings.ansible_config.absolute() if settings.ansible_config else ours.config,
    )


def controller_layout(settings: Settings, database: Database) -> ControllerLayout:
    """Return where things are on this controller."""
    with database.read() as connection:
        origin = installation_id(connection)
    return ControllerLayout(
        # Not resolved: it may be a link, which is exchanged with the set while the service runs.
        playbooks_dir=settings.playbooks_dir.absolute(),
        deploy_dir=settings.deploy_dir.resolve(),
        feed_dir=settings.feed_dir.resolve(),
        ssh_user=settings.ssh_user,
        origin=origin,
        deadlines_s={
            phase.state: getattr(settings, phase.deadline_setting) for phase in PHASES.values() if phase.needs_slot
        },
        floor_rate_mbit_s=settings.floor_rate_mbit_s,
        keep_releases=settings.keep_releases,
    )
