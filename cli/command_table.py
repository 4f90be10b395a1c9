"""The table of all commands: name, place and summary of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cli.command_group import CommandPlace, GroupPlace, LazyGroup

# All commands, in the order of the help.
COMMANDS: Final[Mapping[str, CommandPlace | GroupPlace]] = {
    "up": CommandPlace(
        "cli.up_command:up",
        "Run the service: API, coordinator and playbooks in one process, until SIGTERM or SIGINT.",
        is_service=True,
    ),
    "api": CommandPlace("cli.up_command:api", "Run the HTTP API alone.", is_service=True),
    "coordinator": CommandPlace(
        "cli.up_command:coordinator", "Run a coordinator alone: one is active, others stand by.", is_service=True
    ),
    "worker": CommandPlace(
        "cli.up_command:worker", "Run a worker alone: it checks sites and runs playbooks.", is_service=True
    ),
    "demo": CommandPlace(
        "cli.demo.command:demo",
        "Prestage a made-up fleet of twelve sites on this machine, with real playbooks, and check the outcome.",
    ),
    "fleet": CommandPlace(
        "cli.simulate_command:fleet",
        "Serve simulated sites until SIGTERM or Ctrl-C: SSH with password, SFTP and sudo, Keystone and sysinv.",
    ),
    "doctor": CommandPlace(
        "cli.doctor.command:doctor",
        "Look at everything that the service needs, one line each: ok, warn or fail with what to do.",
    ),
    "seal": CommandPlace(
        "cli.seal_command:seal",
        "Read a password and print it sealed, for `data.sealed_password` of one command sent over RabbitMQ.",
    ),
    "drain": CommandPlace(
        "cli.worker_commands:drain",
        "Have a worker finish its playbooks and take no more runs, until it is started anew or undrained.",
    ),
    "undrain": CommandPlace(
        "cli.worker_commands:undrain",
        "Have a worker that drains take runs again; one that does not drain goes on as before.",
    ),
    "workers": CommandPlace(
        "cli.reading_commands:workers",
        "Show every process of the installation as it reported itself last; reports come every 10 s.",
    ),
    "queues": CommandPlace(
        "cli.queues_command:queues",
        "Show what waits in each queue, who serves it with how many free slots, and what that means.",
    ),
    "status": CommandPlace(
        "client.status:status",
        "Show on one screen what happens, what went wrong, how long it still takes and what may be done now.",
    ),
    "strategy": GroupPlace(
        "Create, start, follow and end a strategy over the API, from any machine.",
        {
            "create": CommandPlace(
                "client.strategy_commands:create",
                "Create a strategy: which sites get the release, and how many at once.",
            ),
            "preview": CommandPlace(
                "client.strategy_commands:preview",
                "Show the strategy that `create` would make with these options: its stages, and what is against it.",
            ),
            "apply": CommandPlace("client.strategy_commands:apply", "Start the strategy."),
            "set": CommandPlace(
                "client.strategy_commands:change",
                "Change width, failure budget, slow start or time limits, before the strategy is applied or while it"
                " runs.",
            ),
            "watch": CommandPlace(
                "client.strategy_watch:watch",
                "Follow the strategy to its end: bars on a terminal, lines elsewhere, and the reason of each failure.",
            ),
            "pause": CommandPlace(
                "client.strategy_commands:pause",
                "Hold the strategy: no further site starts until it is resumed.",
            ),
            "resume": CommandPlace(
                "client.strategy_commands:resume",
                "End the holds of the strategy, so that it goes on; holds of single sites stay.",
            ),
            "approve": CommandPlace(
                "client.gate_commands:approve",
                "Let the sites after a stage start: at once if they wait for it, else when the stage has ended and"
                " soaked.",
            ),
            "deny": CommandPlace(
                "client.gate_commands:deny",
                "Abort the strategy instead of going on after a stage: no further site starts; those that run go on.",
            ),
            "abort": CommandPlace(
                "client.strategy_commands:abort", "Start no more sites; those that run go on to their end."
            ),
            "cancel": CommandPlace(
                "client.strategy_commands:cancel",
                "Abort the strategy and stop the sites that are worked on, too.",
            ),
            "delete": CommandPlace(
                "client.strategy_commands:delete", "Make the strategy history, so that another one can be created."
            ),
            "show": CommandPlace(
                "client.strategy_queries:show",
                "Show the strategy: its state, how many sites are in which state, and which are left out.",
            ),
            "steps": CommandPlace(
                "client.strategy_queries:steps",
                "List the sites of the active strategy: stage, state, and why one failed or was skipped.",
            ),
            "retry": CommandPlace(
                "client.strategy_retry:retry",
                "Create a strategy for sites of an earlier one that has ended, with the options of that.",
            ),
            "problems": CommandPlace(
                "client.strategy_queries:problems",
                "List why sites of the strategy failed: each cause once, with how many sites have it and what to do"
                " next.",
            ),
            "history": CommandPlace(
                "client.strategy_queries:history",
                "List past and present strategies, newest first, with how their sites ended.",
            ),
        },
    ),
    "step": GroupPlace(
        "Show, hold, start first, stop or retry one site of the strategy over the API.",
        {
            "show": CommandPlace(
                "client.step_commands:show",
                "Show one site of the strategy: its state, why it failed or was skipped, and whether it is held.",
            ),
            "explain": CommandPlace(
                "client.step_commands:explain",
                "Say why one site is where it is: its hold, stage, place, preparation, worker or failure.",
            ),
            "log": CommandPlace(
                "client.step_commands:log",
                "Print what the playbooks of one site printed: of the strategy, of an earlier one, or of a prestage by"
                " itself.",
            ),
            "runs": CommandPlace(
                "client.step_commands:runs",
                "List the runs of one site in the strategy: every try of every phase, with its id and how it ended.",
            ),
            "hold": CommandPlace(
                "client.step_commands:hold",
                "Hold one site: it begins no further phase until it is resumed; the others go on.",
            ),
            "resume": CommandPlace("client.step_commands:resume", "End the hold of one site."),
            "first": CommandPlace(
                "client.step_commands:first",
                "Start one site before all that have not started; in a strategy with a sliding window.",
            ),
            "cancel": CommandPlace(
                "client.step_commands:cancel",
                "Stop the work on one site, of the strategy or by itself; one that has ended stays as it is.",
            ),
            "retry": CommandPlace(
                "client.step_commands:retry",
                "Begin the work on one site anew that failed or was cancelled, while its strategy goes on.",
            ),
        },
    ),
    "events": CommandPlace(
        "client.service_commands:events",
        "List the newest events, the oldest first: what the service did and found, and with --follow what happens"
        " next.",
    ),
    "audit": CommandPlace(
        "client.service_commands:audit",
        "List who asked for what, newest first: commands that were carried out and such as were refused.",
    ),
    "releases": CommandPlace(
        "client.service_commands:releases",
        "List the releases that the controller has, newest first, and which workers see them.",
    ),
    "whoami": CommandPlace(
        "client.client_command:whoami",
        "Show the name by which the service knows you, as in its audit, and your roles.",
    ),
    "login-link": CommandPlace(
        "client.client_command:login_link",
        "Print a link that logs a browser in at the page, with your name and roles: once, within ten minutes.",
    ),
    "version": CommandPlace(
        "client.service_commands:show_version",
        "Show the version of this command, and those of the service's processes where it answers.",
    ),
    "completion": CommandPlace(
        "cli.completion:completion",
        "Print the script with which a shell completes commands, options and names; it says where it belongs.",
    ),
    "config": GroupPlace(
        "Check and show the settings.",
        {
            "check": CommandPlace(
                "cli.config_commands:check",
                "List everything that is wrong with the settings and the playbooks; exit with 1 if anything is.",
            ),
            "show": CommandPlace(
                "cli.config_commands:show", "Print every setting and where it comes from; secrets are hidden."
            ),
            "import-dcmanager": CommandPlace(
                "cli.config_commands:import_dcmanager",
                "Write the settings that dcmanager's configuration has; passwords go into files beside them.",
            ),
        },
    ),
    "subcloud": GroupPlace(
        "List, register and prestage sites; their labels, SSH host keys, and what is staged on them.",
        {
            "list": CommandPlace(
                "client.inventory_commands:list_sites",
                "List the sites: release, state, what is staged there, and what went wrong.",
            ),
            "import": CommandPlace(
                "cli.inventory_import.command:import_fleet",
                "Register all sites of a file, or none of them when anything in it is wrong.",
            ),
            "show": CommandPlace(
                "cli.reading_commands:show_subcloud",
                "Show a subcloud, with the fingerprints of its recorded SSH host keys.",
            ),
            "set": CommandPlace(
                "client.inventory_commands:set_site",
                "Put a site into another group, or change its description or location.",
            ),
            "prestage": CommandPlace(
                "client.inventory_commands:prestage", "Stage a release on one site at once, without a strategy."
            ),
            "prestages": CommandPlace(
                "client.inventory_commands:list_prestages",
                "List prestages of single sites without a strategy, and removals, newest first: who asked, and how"
                " they ended.",
            ),
            "labels": CommandPlace(
                "client.inventory_commands:labels", "Show the labels of a site, set some or remove some."
            ),
            "set-host-key": CommandPlace(
                "cli.subcloud_commands:set_host_key",
                "Record the SSH host keys of a site in place of those that it has; its next prestage must find"
                " one of them.",
            ),
            "forget-host-key": CommandPlace(
                "cli.subcloud_commands:forget_host_key",
                "Forget the SSH host keys of sites, as after a reinstallation: the next prestage of each is a"
                " first contact.",
            ),
            "unstage": CommandPlace(
                "client.inventory_commands:unstage",
                "Remove a staged release from a site: what Prestager's playbooks put there, never the release"
                " that it runs.",
            ),
            "forget-staged": CommandPlace(
                "client.inventory_commands:forget_staged",
                "Show a release no longer as staged on a site, as after a restore of the site: nothing is removed"
                " there.",
            ),
        },
    ),
    "group": GroupPlace(
        "List, show, create, change and delete groups of sites over the API.",
        {
            "list": CommandPlace(
                "client.inventory_commands:list_groups",
                "List the groups of sites: how many sites each has, and how strategies go through them.",
            ),
            "show": CommandPlace(
                "client.inventory_commands:show_group", "Show a group of sites and its options for strategies."
            ),
            "create": CommandPlace(
                "client.inventory_commands:create_group", "Create a group of sites, which has none yet."
            ),
            "delete": CommandPlace("client.inventory_commands:delete_group", "Delete a group that has no site."),
            "set": CommandPlace(
                "client.inventory_commands:set_group",
                "Change a group of sites: how strategies go through it, its description or its name.",
            ),
        },
    ),
    "token": GroupPlace(
        "Make, list and revoke access tokens of the API.",
        {
            "create": CommandPlace(
                "cli.token_commands:create",
                "Make a token and print it, this once only; the running service knows it at once.",
            ),
            "list": CommandPlace(
                "cli.token_commands:list_tokens", "List all tokens, revoked ones too, never the tokens themselves."
            ),
            "revoke": CommandPlace(
                "cli.token_commands:revoke", "End a token; the very next request that carries it is refused."
            ),
        },
    ),
    "controller": GroupPlace(
        "Declare the state of the system controller.",
        {
            "upgrading": CommandPlace(
                "cli.controller_commands:upgrading",
                "Declare whether the system controller is being upgraded; while it is, no prestage starts.",
            ),
        },
    ),
    "key": GroupPlace(
        "Look at the secret keys, and put a new one in an old one's place.",
        {
            "list": CommandPlace(
                "cli.key_commands:list_keys",
                "List the keys by their ids: their place in the file here, what needs them, and which processes"
                " know them.",
            ),
            "add": CommandPlace(
                "cli.key_commands:add",
                "Make a new key at the end of the key file, where it opens and does not seal yet, and print its id.",
            ),
            "promote": CommandPlace(
                "cli.key_commands:promote",
                "Make a key of the file here the first one, which seals; refused while a living process does"
                " not know it.",
            ),
            "rotate": CommandPlace(
                "cli.key_commands:rotate",
                "Seal with the first key whatever another key has sealed; the service may run, and a repeat goes on.",
            ),
            "remove": CommandPlace(
                "cli.key_commands:remove",
                "Remove a key from the key file here; refused while a process, a secret, or a message of the"
                " last hour needs it.",
            ),
        },
    ),
    "db": GroupPlace(
        "Look at and upgrade the schema; go on after a restore.",
        {
            "current": CommandPlace(
                "cli.db_commands:current", "Print the revision of the database and the newest that this program knows."
            ),
            "upgrade": CommandPlace("cli.db_commands:upgrade", "Bring the schema to the newest revision."),
            "head": CommandPlace(
                "cli.db_commands:head", "Print the newest revision that this program knows; asks no database."
            ),
            "downgrade": CommandPlace(
                "cli.db_commands:downgrade", "Bring the schema down to an older revision, for an older program."
            ),
            "restored": CommandPlace(
                "cli.db_commands:restored", "Make a database that was restored from a backup safe to start with."
            ),
        },
    ),
    "dead-letters": GroupPlace(
        "Look at, put back and throw away messages that nobody could deal with.",
        {
            "list": CommandPlace(
                "cli.dead_letter_commands:list_letters",
                "List the dead letters: how many each queue has, and why the oldest are there.",
            ),
            "show": CommandPlace("cli.dead_letter_commands:show", "Print one dead letter; secrets in it are hidden."),
            "replay": CommandPlace(
                "cli.dead_letter_commands:replay",
                "Put one dead letter back into its queue; correct first what made it one, or it comes back.",
            ),
            "purge": CommandPlace(
                "cli.dead_letter_commands:purge", "Throw away all dead letters of one queue, for good."
            ),
        },
    ),
    "webhook": GroupPlace(
        "Tell others of events by HTTP, over the API.",
        {
            "add": CommandPlace(
                "client.webhook_commands:add",
                "Make a webhook and print its signing secret, this once only; it gets what happens from now on.",
            ),
            "list": CommandPlace("client.webhook_commands:list_webhooks", "List all webhooks."),
            "show": CommandPlace("client.webhook_commands:show", "Show one webhook; never its secret."),
            "remove": CommandPlace("client.webhook_commands:remove", "Remove a webhook with its secret and its log."),
            "enable": CommandPlace(
                "client.webhook_commands:enable", "Send to a webhook again what happens from now on."
            ),
            "disable": CommandPlace(
                "client.webhook_commands:disable", "Send nothing to a webhook; what is still open fails."
            ),
            "rotate": CommandPlace(
                "client.webhook_commands:rotate",
                "Give a webhook a new secret and print it, this once only; for a day the one before signs too.",
            ),
            "ping": CommandPlace(
                "client.webhook_commands:ping", "Have the service send a test; see `deliveries` for what came of it."
            ),
            "redeliver": CommandPlace(
                "client.webhook_commands:send_again",
                "Have the event of a delivery sent once more, or an open delivery due at once.",
            ),
            "deliveries": CommandPlace(
                "client.webhook_commands:deliveries", "Show the newest deliveries of a webhook and what came of them."
            ),
        },
    ),
}


def application() -> LazyGroup:
    """Return the command with all its subcommands, none of them imported."""
    summary = (
        "Stages a software release on remote sites before the maintenance window. Begin with: prestager status;"
        " --version shows the version."
    )
    return LazyGroup("prestager", summary, COMMANDS)
