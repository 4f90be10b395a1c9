"""Fields of bodies that dcmanager's API knows and Prestager does not use: taken from its clients, and ignored.

Read in starlingx/distcloud at 8ae01823, below `dcmanager`. No I/O.
"""

from __future__ import annotations

from typing import Final

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
