"""Parts of dcmanager's API that are not served here: paths, types of strategies, and fields of bodies that are ignored.

The fields were read in starlingx/distcloud at 8ae01823, below `dcmanager`.
"""

from __future__ import annotations

from typing import Final

NOT_SERVED: Final = "This is Prestager, which stages releases; dcmanager's own API serves this."
# Types of strategies that dcmanager knows, or knew, beside ours.
FOREIGN_STRATEGY_TYPES: Final = frozenset(
    {"firmware", "kube-rootca-update", "kubernetes", "load", "patch", "software", "sw-deploy", "upgrade"}
)
# First parts of paths below the version.
_COLLECTIONS: Final = frozenset(
    {
        "alarms",
        "notifications",
        "peer-group-associations",
        "phased-subcloud-deploy",
        "subcloud-backup",
        "subcloud-deploy",
        "subcloud-peer-groups",
        "sw-update-options",
        "system-peers",
    }
)
# What dcmanager's API does with one subcloud.
_VERBS: Final = frozenset({"reconfigure", "redeploy", "reinstall", "restore", "update_status"})
_VERSION: Final = "v1.0"


def with_not_served(text: str, strategy_type: object) -> str:
    """Return a text about a strategy's type, and for a type that dcmanager serves, who serves it."""
    is_foreign = isinstance(strategy_type, str) and strategy_type in FOREIGN_STRATEGY_TYPES
    return f"{text.removesuffix('.')}. {NOT_SERVED}" if is_foreign else text


def not_served_path(path: str) -> str:
    """Return who serves a path that Prestager does not have; empty for one that dcmanager does not have either."""
    match path.strip("/").split("/"):
        case [version, collection, *_] if version == _VERSION and collection in _COLLECTIONS:
            return NOT_SERVED
        case [version, "subclouds", _, verb] if version == _VERSION and verb in _VERBS:
            return NOT_SERVED
    return ""


# Of any type of strategy: api/controllers/v1/sw_update_strategy.py, `EXTRA_ARGS_…` in common/consts.py, and
# `validate_software_strategy` in common/utils.py.
STRATEGY_FIELDS: Final = frozenset(
    {
        "cleanup",
        "delete",
        "delete_only",
        "expiry-date",
        "kube_upgrade",
        "release_id",
        "rollback",
        "snapshot",
        "subject",
        "to-version",
        "with_delete",
        "with_prestage",
    }
)
# Of adding and changing a subcloud: api/controllers/v1/subclouds.py and common/phased_subcloud_deploy.py. The password
# is for a deployment there.
SUBCLOUD_FIELDS: Final = frozenset(
    {
        "admin_end_address",
        "admin_floating_address",
        "admin_gateway_address",
        "admin_start_address",
        "admin_subnet",
        "bmc_password",
        "bootstrap_values",
        "cloud_init_config",
        "deploy_config",
        "external_oam_gateway_address",
        "external_oam_subnet",
        "install_values",
        "kubernetes_version",
        "management_floating_address",
        "on_site",
        "region_name",
        "secondary",
        "sysadmin_password",
        "system_controller_network",
        "system_controller_network_prefix",
    }
)
