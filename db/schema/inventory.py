"""Tables of groups, subclouds, the system controller, callers, and the reports of processes."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Integer, String, Table, Text, false

from db.schema.base import BigId, UtcDateTime, metadata

subcloud_groups: Final = Table(
    "subcloud_groups",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(255), nullable=False),
    Column("update_apply_type", String(16), nullable=False),
    Column("max_parallel_subclouds", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime),
    # Options of a rollout, by their names on the wire, for strategies that name the group.
    Column("rollout", JSON, nullable=False, server_default="{}"),
    # An id is never given twice: one that was kept never names another row.
    sqlite_autoincrement=True,
)

subclouds: Final = Table(
    "subclouds",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(255)),
    Column("location", String(255)),
    Column("group_id", BigId, ForeignKey("subcloud_groups.id"), nullable=False, index=True),
    Column("software_version", String(255), nullable=False),
    Column("management_state", String(16), nullable=False),
    Column("availability_status", String(16), nullable=False),
    Column("deploy_status", String(64), nullable=False),
    Column("prestage_status", String(16)),
    # What it was before the prestage that goes on, or that was the last.
    Column("earlier_prestage_status", String(16)),
    Column("prestage_versions", String(255)),
    # What the site ran when that was staged.
    Column("prestage_from_version", String(255)),
    Column("error_description", String(2048), nullable=False),
    Column("region_name", String(255), nullable=False),
    Column("management_subnet", String(255)),
    Column("management_start_ip", String(255)),
    Column("management_end_ip", String(255)),
    Column("management_gateway_ip", String(255)),
    Column("systemcontroller_gateway_ip", String(255)),
    Column("openstack_installed", Boolean, nullable=False),
    Column("data_install", Text),
    # Facts as the operator declared them, read by the `declared` inspector.
    Column("system_mode", String(16), nullable=False),
    Column("oam_floating_ip", String(255)),
    Column("management_alarms", Integer, nullable=False),
    # Ansible connection variables of the site, without secrets: those of the operator's import, which win, and those
    # that callers set.
    Column("connection", JSON, nullable=False),
    Column("caller_connection", JSON, nullable=False, server_default="{}"),
    # Names of variables that an upgrade took out because it was not known who had set them.
    Column("removed_variables", JSON, nullable=False, server_default="[]"),
    # Labels by which selectors choose it: values by key.
    Column("labels", JSON, nullable=False, server_default="{}"),
    # SSH host keys of the site, `<type> <base64>` a line; None: none is recorded. How they became known, when, and what
    # software version the site had then.
    Column("host_keys", Text),
    Column("host_keys_origin", String(16)),
    Column("host_keys_at", UtcDateTime),
    Column("host_keys_version", String(255)),
    # Whether an administrator set the software version: it can then tell a reinstalled site from another server.
    Column("version_by_administrator", Boolean, nullable=False, server_default=false()),
    # The newest run whose content at the site is not relied on; 0: none is doubted.
    Column("doubted_to", BigId, nullable=False, server_default="0"),
    # Failed availability probes in a row.
    Column("probe_failures", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime),
    sqlite_autoincrement=True,
)

tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    # SHA-256 of the token; the token itself is shown once, at creation.
    Column("digest", String(64), nullable=False, unique=True),
    Column("role", String(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

# Codes of login links that were not used yet.
login_codes: Final = Table(
    "login_codes",
    metadata,
    # SHA-256 of the code.
    Column("digest", String(64), primary_key=True),
    # Identity of the caller who made it, sealed and bound to the digest.
    Column("identity", Text, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

# One row: what the operator declares of the system controller. Coordinator transactions lock it first, which gives
# them one order.
controller: Final = Table(
    "controller",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("upgrading", Boolean, nullable=False),
    # Name of this installation, made once; sites tell controllers apart by it.
    Column("installation", String(64), nullable=False),
)


heartbeats: Final = Table(
    "heartbeats",
    metadata,
    # Worker name, machine and a random id: every start of a process has a row of its own.
    Column("process", String(255), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("host", String(255), nullable=False),
    # Names of the roles with "+" between them, sorted.
    Column("role", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    # Queues that a worker serves (JSON list); empty for a process without a worker.
    Column("queues", JSON, nullable=False),
    # Playbooks at once, playbooks now, and sites whose facts are being read; null without a worker.
    Column("slots", Integer),
    Column("running", Integer),
    Column("prechecks", Integer),
    Column("draining", Boolean, nullable=False),
    # Releases that have a directory below the deploy directory, and releases with a package feed (JSON lists of
    # MM.mm); null until the process has looked.
    Column("releases", JSON(none_as_null=True)),
    Column("feeds", JSON(none_as_null=True)),
    # First error of the playbooks; empty: none. Null until the process has looked, and without a worker.
    Column("playbooks_error", Text),
    # Ids of the secret keys that the process opens with, the sealing one first (JSON list).
    Column("key_ids", JSON, nullable=False),
    # By the database's clock, seconds since the epoch.
    Column("started_epoch", Float, nullable=False),
    Column("seen_epoch", Float, nullable=False),
)

secret_keys: Final = Table(
    "secret_keys",
    metadata,
    # Of a key that a process sealed with; never the key.
    Column("key_id", String(16), primary_key=True),
    # When a process began or ceased to seal with it, the latest, by the database's clock: seconds since the epoch.
    Column("last_sealing_epoch", Float, nullable=False),
)
