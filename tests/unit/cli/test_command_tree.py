"""The tree of all commands: names and options, summaries, and the modules that the help imports."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from typer import Context

from cli.command_group import HELP_MARGIN, CommandPlace, GroupPlace
from cli.command_table import COMMANDS, application

# Of every command over HTTP.
CLIENT_OPTIONS = " --server= --context= --token-file= --ca-file= --output/-o="
# One line for each command: arguments in brackets, options with = where they take a value; ! is required, * repeatable.
COMMAND_TREE = """\
prestager api
prestager audit --caller= --type= --since= --limit={options}
prestager completion <shell>!
prestager config check
prestager config import-dcmanager <file>! --out= --replace --release= --site-ca-file= --host-keys= --dry-run
prestager config show --output/-o=
prestager controller upgrading <wish>!
prestager coordinator
prestager db current
prestager db downgrade <revision>! --yes --wait=
prestager db head
prestager db restored --trust-clock
prestager db upgrade
prestager dead-letters list <queue> --limit= --output/-o=
prestager dead-letters purge <queue>! --yes
prestager dead-letters replay <queue>! <letter_id>!
prestager dead-letters show <queue>! <letter_id>! --output/-o=
prestager demo --dir= --quick --without-ssh --keep
prestager doctor --output/-o=
prestager drain <worker> --all{options}
prestager events --follow/-f --type= --limit= --timeout={options}
prestager fleet --dir=! --sites= --seed= --fault=* --password-file= --release= --target= --address= \
--free-ports --max-parallel=
prestager group create <group>! --description=! --apply-type= --max-parallel={options}
prestager group delete <group>! --yes{options}
prestager group list{options}
prestager group set <group>! --apply-type= --max-parallel= --description= --name= --yes{options}
prestager group show <group>!{options}
prestager key add
prestager key list --output/-o=
prestager key promote <key>!
prestager key remove <key>!
prestager key rotate
prestager login-link{options}
prestager queues{options}
prestager releases{options}
prestager seal --source=! --id=! --user=
prestager status --watch{options}
prestager step cancel <subcloud>! --grace= --yes{options}
prestager step explain <subcloud>!{options}
prestager step first <subcloud>!{options}
prestager step hold <subcloud>! --reason={options}
prestager step log <subcloud> --follow/-f --phase= --run={options}
prestager step resume <subcloud>!{options}
prestager step retry <subcloud>!{options}
prestager step runs <subcloud>!{options}
prestager step show <subcloud>!{options}
prestager strategy abort --yes{options}
prestager strategy apply --watch --timeout= --exit-on-hold{options}
prestager strategy approve --stage= --note={options}
prestager strategy cancel --grace= --yes --watch --timeout={options}
prestager strategy create --group= --subcloud=* --from-file= --selector= --exclude=* --exclude-selector= \
--skip-ineligible --release= --serial --max-parallel= --mode= --canary= --soak= --gate --approver=* --order= \
--max-failures= --on-budget= \
--on-prepare-failure= --ramp-start= --time-limit=* --on-strategy-limit= --stop-on-failure --force \
--for-sw-deploy --plan-digest= --password-file= --apply --watch --timeout= --exit-on-hold{options}
prestager strategy delete --yes{options}
prestager strategy deny --stage= --note= --yes{options}
prestager strategy history --limit={options}
prestager strategy pause --scope= --reason={options}
prestager strategy preview --group= --subcloud=* --from-file= --selector= --exclude=* --exclude-selector= \
--skip-ineligible --release= --serial --max-parallel= --mode= --canary= --soak= --gate --approver=* --order= \
--max-failures= --on-budget= \
--on-prepare-failure= --ramp-start= --time-limit=* --on-strategy-limit= --stop-on-failure --force \
--for-sw-deploy{options}
prestager strategy problems <strategy>{options}
prestager strategy resume --allow-failures= --password-file= --watch --timeout= --exit-on-hold{options}
prestager strategy retry <strategy> --state=* --subcloud=* --problem= --from= --max-parallel= --password-file= --apply \
--watch --timeout= --exit-on-hold{options}
prestager strategy set --max-parallel= --max-failures= --on-budget= --on-prepare-failure= --ramp-start= \
--time-limit=* --on-strategy-limit={options}
prestager strategy show <strategy>{options}
prestager strategy steps --state=* --outcome=* --class=* --problem= --stage= --group= --subcloud= --selector= \
--run-state={options}
prestager strategy watch --timeout= --exit-on-hold{options}
prestager subcloud forget-host-key <ref> --group=
prestager subcloud forget-staged <subcloud>! --release=!{options}
prestager subcloud import <file> --dry-run --update --from-dcmanager= --token-file= --keep=*
prestager subcloud labels <subcloud>! <label> --remove=* --server= --context= --token-file= --ca-file= --output/-o=
prestager subcloud list --group= --subcloud= --selector= --state=* --outcome=* --class=* --problem={options}
prestager subcloud prestage <subcloud>! --release= --force --for-sw-deploy --password-file={options}
prestager subcloud prestages --subcloud= --limit={options}
prestager subcloud set <subcloud>! --group= --description= --location={options}
prestager subcloud set-host-key <ref>! <file>
prestager subcloud show <ref>!{options}
prestager subcloud unstage <subcloud>! --release=! --no-wait --password-file={options}
prestager token create <name>! --role=! --save-context
prestager token list --output/-o=
prestager token revoke <name>!
prestager undrain <worker> --all{options}
prestager up --split
prestager version{options}
prestager webhook add <name>! <url>! --type=* --subcloud= --secret-stdin{options}
prestager webhook deliveries <webhook>! --state= --limit={options}
prestager webhook disable <webhook>!{options}
prestager webhook enable <webhook>!{options}
prestager webhook list{options}
prestager webhook ping <webhook>!{options}
prestager webhook redeliver <webhook>! <delivery>!{options}
prestager webhook remove <webhook>! --yes{options}
prestager webhook rotate <webhook>! --secret-stdin{options}
prestager webhook show <webhook>!{options}
prestager whoami{options}
prestager worker --slots= --name= --queues=
prestager workers{options}
"""
# Without pydantic, which Typer imports itself to read the arguments of a group.
HEAVY = {"aiohttp", "alembic", "ansible_runner", "cryptography", "dramatiq", "pika", "rich", "sqlalchemy"}


def places() -> Iterator[CommandPlace]:
    """Yield the place of each command."""
    for place in COMMANDS.values():
        yield from place.commands.values() if isinstance(place, GroupPlace) else (place,)


def described(group: Any, path: str) -> Iterator[str]:
    """Yield a line for each command below a group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from described(command, f"{path} {name}")
        else:
            yield " ".join([f"{path} {name}", *map(parameter_text, command.load().params)])


def parameter_text(parameter: Any) -> str:
    """Return the names of a parameter and what must be known to give it."""
    text = "/".join([*parameter.opts, *parameter.secondary_opts])
    text = text if text.startswith("-") else f"<{text}>"
    text += "=" if text.startswith("-") and not parameter.is_flag else ""
    return text + "!" * parameter.required + "*" * getattr(parameter, "multiple", False)


def test_all_commands_with_their_options() -> None:
    """Commands, arguments and options are those that scripts of operators use."""
    tree = COMMAND_TREE.replace("{options}", CLIENT_OPTIONS)

    assert tree.splitlines() == sorted(described(application(), "prestager"))


@pytest.mark.parametrize("place", [*places()], ids=lambda place: place.place)
def test_summary(place: CommandPlace) -> None:
    """The summary of a command in the help is the beginning of its own help."""
    module, _, function = place.place.partition(":")
    documentation = inspect.getdoc(getattr(import_module(module), function)) or ""

    assert " ".join(documentation.split()).startswith(place.summary)


@pytest.mark.parametrize(
    "arguments",
    [(), ("workers",), ("db", "upgrade"), *((name,) for name, one in COMMANDS.items() if isinstance(one, GroupPlace))],
)
def test_help_imports_no_library(arguments: tuple[str, ...]) -> None:
    """The help of `prestager`, of each group and of a command imports no large library of the service."""
    program = (
        "import sys; from cli.main import main\n"
        "try: main()\n"
        "except SystemExit as ended: print(*{name.partition('.')[0] for name in sys.modules}); assert not ended.code"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--help"], capture_output=True, text=True, check=True
    )

    assert HEAVY.isdisjoint(done.stdout.splitlines()[-1].split())


def helps(group: Any, context: Context) -> Iterator[str]:
    """Yield the help of a group and of each command below it, as wide as a terminal of 80 columns takes it."""
    yield group.get_help(context)
    for name, listed in group.commands.items():
        command = listed if hasattr(listed, "commands") else listed.load()
        below = Context(command, info_name=name, parent=context, terminal_width=80 - HELP_MARGIN)
        yield from helps(command, below) if hasattr(command, "commands") else (command.get_help(below),)


def test_every_help_fits() -> None:
    """No line of any help is wider than a terminal of 80 columns."""
    root = application()
    texts = helps(root, Context(root, info_name="prestager", terminal_width=80 - HELP_MARGIN))

    assert [] == [line for text in texts for line in text.splitlines() if len(line) > 80]


def test_help_on_a_narrow_terminal() -> None:
    """The lines of a command's help are as long as the terminal is wide, at most 78 characters."""
    lengths = []
    for columns in ("60", "200"):
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "db", "restored", "--help"],
            env={"COLUMNS": columns, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        lengths.append(max(map(len, done.stdout.splitlines())))

    assert lengths[0] <= 58 < lengths[1] <= 78
