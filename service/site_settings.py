"""Settings of what is staged, of sites and the system controller, and of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr

from messages.queues import WORKER_QUEUES
from runner.capacity import default_slots
from service.setting_types import (
    DcmanagerUrl,
    PathList,
    QueueList,
    Release,
    Seconds,
    WebUrl,
    names,
    paths,
)
from service.setting_variables import VariableSettings
from statemachine.host_keys import HostKeyPolicy

_OUR_PLAYBOOKS: Final = Path(__file__).parents[1] / "playbooks"


class SiteSettings(VariableSettings):
    """Settings of what is staged, of sites and the system controller, and of runs."""

    release: Release | None = Field(
        None, description="Software version of the system controller (MM.mm), staged where a request names none."
    )
    playbooks_dir: Path = Field(_OUR_PLAYBOOKS, description="Directory of the playbooks.")
    ansible: Path | None = Field(
        None,
        description="Path of the ansible-playbook that runs the playbooks"
        " ([own-playbooks.md](own-playbooks.md#which-ansible-it-needs)).",
    )
    ansible_collections: PathList = Field(
        "", description="Directories of Ansible collections, with colons between them; default Ansible's own."
    )
    ansible_config: Path | None = Field(
        None, description="Configuration file (ansible.cfg) of playbook runs; what runs need wins over it."
    )
    preload: bool = Field(
        True,
        description="Load Ansible once in a worker and fork each playbook run from that process, which saves nine"
        " tenths of a start; an ansible-playbook of another Python is always started anew.",
    )
    ssh_pipelining: bool | Literal["auto"] = Field(
        "auto",
        description="Send modules to sites through the SSH connection instead of as files; auto: where a trial at the"
        " site succeeds, for its sudo may want a terminal ([own-playbooks.md](own-playbooks.md#pipelining)).",
    )
    deploy_dir: Path = Field(
        Path("/opt/platform/deploy"), description="Where `<release>/prestage_images*` and the shared packages are."
    )
    feed_dir: Path = Field(
        Path("/var/www/pages/feed"), description="Where the controller keeps the package feeds, `rel-<release>` each."
    )
    inspector: Literal["declared", "sysinv"] = Field(
        "declared", description="How the facts of a site are read: as declared in the inventory, or at its sysinv."
    )
    inspections: int = Field(250, ge=1, le=2000, description="Sites that one worker asks for their facts at once.")
    precheck_deadline_s: Seconds = Field(600, description="Longest reading of a site's facts, in seconds.")
    site_username: str = Field("dcmanager", min_length=1, description="Account at each site's Keystone.")
    site_password: SecretStr | None = Field(None, description="Its password.")
    site_password_file: Path | None = Field(None, description="File that holds it, read again at each login.")
    site_project: str = Field("services", min_length=1, description="Project of the account.")
    site_user_domain: str = Field("Default", min_length=1, description="Domain of the account.")
    site_project_domain: str = Field("Default", min_length=1, description="Domain of the project.")
    site_ca_file: Path | None = Field(
        None,
        description="Authorities that sign the sites' certificates, needed to ask sites; read again when changed.",
    )
    site_keystone_port: int = Field(5001, ge=1, le=65535, description="Port of a site's Keystone.")
    site_sysinv_port: int = Field(6386, ge=1, le=65535, description="Port of a site's sysinv.")
    site_usm_port: int = Field(5498, ge=1, le=65535, description="Port of a site's USM.")
    site_urls_file: Path | None = Field(
        None,
        description="TOML file of sites that are not at their management start address: a table for each, with"
        " `keystone`, `sysinv` and, where it has one, `usm`.",
    )
    site_connect_timeout_s: Seconds = Field(10, description="How long a site may take to connect, in seconds.")
    site_read_timeout_s: Seconds = Field(60, description="How long a site may be silent, in seconds.")
    controller_check: Literal["declared", "sysinv", "usm"] | None = Field(
        None,
        description="What is asked for upgrades of the system controller beside the operator's declaration; default"
        " usm with the sysinv inspector, else declared.",
    )
    controller_keystone_url: WebUrl | None = Field(
        None, description="The system controller's Keystone, such as http://192.168.204.1:5000/v3."
    )
    controller_url: WebUrl | None = Field(
        None, description="The system controller's USM (http://192.168.204.1:5497) or sysinv (...:6385)."
    )
    controller_username: str | None = Field(None, description="Account at the controller; default the sites' account.")
    controller_password: SecretStr | None = Field(None, description="Its password.")
    controller_password_file: Path | None = Field(None, description="File that holds it, read again at each login.")
    dcmanager_url: DcmanagerUrl = Field(
        "",
        description="dcmanager's API, such as http://192.168.204.2:8119/v1.0: sites that it works on are skipped;"
        " default: it is not asked.",
    )
    allow_duplex: bool = Field(False, description="Prestage duplex sites too; the default skips them.")
    ssh_user: str = Field("sysadmin", description="User that playbooks log in with.")
    host_keys: HostKeyPolicy = Field(
        HostKeyPolicy.ACCEPT_NEW,
        description="SSH host keys of sites: accept-new records the first, strict takes given ones only, ignore none.",
    )
    worker_nice: int = Field(
        10,
        ge=0,
        le=19,
        description="Niceness of playbooks and of a worker's own process, so that the API and the coordinator beside"
        " them answer under load; in a process with other roles (`prestager up`) that of playbooks alone.",
    )
    slots: int = Field(default_factory=default_slots, ge=1, le=1000, description="Playbooks at once in one worker.")
    worker_queues: QueueList = Field(
        ",".join(WORKER_QUEUES), description="Queues that a worker serves, with commas between them."
    )
    max_attempts: int = Field(3, ge=1, le=20, description="Tries of a phase whose worker is lost.")
    prepare_deadline_s: Seconds = Field(3600, description="Longest prepare playbook, in seconds.")
    packages_deadline_s: Seconds = Field(3600, description="Longest packages playbook, in seconds.")
    images_deadline_s: Seconds = Field(7200, description="Longest images playbook, in seconds.")
    floor_rate_mbit_s: float = Field(
        2,
        ge=0.01,
        le=1_000_000,
        description="Slowest link to a site, in Mbit/s: a run may take 600 s plus its bytes at this rate if that is"
        " more than its deadline, 7 days at most.",
    )
    keep_releases: int = Field(
        0,
        ge=0,
        le=1000,
        description="Staged releases that stay on a site after a successful run of our playbooks; 0: all. Never"
        " removed are the running one, the target, those of an open strategy, and what others put there.",
    )
    command_timeout_s: Seconds = Field(30, description="How long the API waits for an answer, in seconds.")
    probe: bool = Field(False, description="Keep availability current by probes of each site.")
    probe_kind: Literal["tcp", "sysinv"] = Field(
        "tcp", description="What is probed: the SSH port takes a connection, or the service groups are active."
    )
    probe_interval_s: Seconds = Field(30, description="Pause between two probes of a site, in seconds.")
    probe_timeout_s: Seconds | None = Field(
        None, description="How long a probe may take, in seconds; default 5 for tcp, 30 for sysinv."
    )
    probe_failures: int = Field(2, ge=1, le=100, description="Failed probes in a row that make a site offline.")
    probe_concurrency: int = Field(100, ge=1, le=1000, description="Probes at once.")

    @property
    def asks_sites(self) -> bool:
        """Tell whether anything logs in at sites."""
        return self.inspector == "sysinv" or (self.probe and self.probe_kind == "sysinv")

    @property
    def controller_asked(self) -> Literal["sysinv", "usm"] | None:
        """Return what of the system controller is asked for upgrades; None: what is declared counts alone."""
        if self.controller_check is None:
            return "usm" if self.inspector == "sysinv" else None
        return None if self.controller_check == "declared" else self.controller_check

    @property
    def collection_paths(self) -> tuple[Path, ...]:
        """Return the directories of Ansible collections; empty: those that Ansible looks into by itself."""
        return paths(self.ansible_collections)

    @property
    def served_queues(self) -> frozenset[str]:
        """Return the queues that a worker serves."""
        return names(self.worker_queues)
