"""`prestager config`: check and show the settings, and make them from dcmanager's on the same controller."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.dcmanager_settings import Mapped, map_dcmanager
from cli.settings_file import add_settings, check_directory, is_set, write_private
from client.output import Output, OutputFormat, ShownField, print_records
from service.controller import playbook_load_error
from service.errors import CommandError
from service.load_settings import examine_settings, read_settings, shown_settings, unknown_variables
from service.startup_checks import doubts, start_faults
from statemachine.host_keys import HostKeyPolicy

# Begins what is wrong with the files of the playbooks.
_PLAYBOOKS: Final = "PRESTAGER_PLAYBOOKS_DIR "

_OUT: Final = Path("/etc/prestager/prestager.toml")
_CREDENTIALS: Final = "credentials"
# The authority that StarlingX signs the certificates of its subclouds with.
_SITE_AUTHORITY: Final = Path("/etc/pki/ca-trust/source/anchors/dc-adminep-root-ca.crt")
_HOST_KEYS: Final = "host_keys"
_QUESTION: Final = """\
Playbooks log in at the sites by SSH with a password. What shall count as the host key of a site?
  accept-new  the first key that it presents; a later change stops its prestage before the password is sent
  strict      only keys that you give, by import or with: prestager subcloud set-host-key NAME FILE
  ignore      any key, as with dcmanager: any server that answers at the address of a site is sent the password"""
_NOT_ASKED: Final = (
    "What counts as the SSH host key of a site was not asked: accept-new, the default, does; --host-keys chooses"
    " accept-new, strict or ignore (docs/starlingx.md)."
)


def check() -> None:
    """List everything that is wrong with the settings and the playbooks; exit with 1 if anything is."""
    settings, faults = examine_settings()
    faults += unknown_variables(os.environ)
    if settings is not None:
        # What has a fault already has its default here, which is no news.
        named = {fault.split()[0] for fault in faults}
        found = start_faults(settings)
        if not any(fault.startswith(_PLAYBOOKS) for fault in found):
            found += filter(None, [playbook_load_error(settings)])
        faults += [fault for fault in found if fault.split()[0] not in named]
        for doubt in doubts(settings):
            typer.echo(f"Warning: {doubt}", err=True)
    if faults:
        raise CommandError("The settings are not right; correct what is listed and check again.", faults)
    typer.echo("The settings are right.")


_FIELDS: Final = tuple(
    ShownField(key=key, title=title) for key, title in (("variable", "setting"), ("value", "value"), ("source", "from"))
)


def show(output: Output = OutputFormat.TABLE) -> None:
    """Print every setting and where it comes from; secrets are hidden."""
    print_records([asdict(shown) for shown in shown_settings(read_settings())], _FIELDS, output, "variable")


def import_dcmanager(  # noqa: PLR0913, PLR0917 - options of the shell
    file: Annotated[Path, typer.Argument(help="dcmanager's configuration: /etc/dcmanager/dcmanager.conf")],
    out: Annotated[Path, typer.Option(help="File of our settings; what is in it stays.")] = _OUT,
    replace: Annotated[bool, typer.Option("--replace", help="Take dcmanager's values over ours.")] = False,  # noqa: FBT002 - an option of the shell
    release: Annotated[str | None, typer.Option(help="Software version of the system controller (MM.mm).")] = None,
    site_ca_file: Annotated[
        Path | None,
        typer.Option(
            help=f"Authorities that sign the sites' certificates; the default is {_SITE_AUTHORITY}, if there."
        ),
    ] = None,
    host_keys: Annotated[
        HostKeyPolicy | None,
        typer.Option(help="What counts as the SSH host key of a site; asked for on a terminal where it is not given."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Write the settings that dcmanager's configuration has; passwords go into files beside them.

    The broker's virtual host and the database are Prestager's own; the command prints which have to be made. Run it
    again after the controller's passwords have changed, with --replace.
    """
    mapped = map_dcmanager(_text(file))
    if mapped.faults:
        raise CommandError(f"Nothing was written; {file} cannot be taken over.", mapped.faults)
    _add_release(mapped, release)
    _add_site_authority(mapped, site_ca_file)
    present = _text(out) if out.exists() else ""
    _add_host_keys(mapped, host_keys, present)
    credentials = out.absolute().parent / _CREDENTIALS
    secrets = {credentials / _name(setting): secret for setting, secret in mapped.secrets.items()}
    wanted = mapped.settings | {setting: str(credentials / _name(setting)) for setting in mapped.secrets}
    text = add_settings(present, wanted, replace=replace)
    if not dry_run:
        _write(secrets, out, text)
    typer.echo("\n".join([f"{'Would set' if dry_run else 'Set'}: {', '.join(wanted)}.", *mapped.notes]))
    if not dry_run:
        typer.echo(f"Look at it: PRESTAGER_CONFIG={out} prestager config check")


def _add_release(mapped: Mapped, release: str | None) -> None:
    if release is None:
        mapped.notes.append("The software version is not in this file: set release (MM.mm), or give --release.")
    else:
        mapped.settings["release"] = release


def _add_site_authority(mapped: Mapped, file: Path | None) -> None:
    """Add the file without which sites are not asked, where they are to be asked."""
    if file is not None and not file.is_file():
        raise CommandError(f"Nothing was written: --site-ca-file {file} is not a file.")
    if mapped.settings.get("inspector") != "sysinv":
        return
    found = file or (_SITE_AUTHORITY if _SITE_AUTHORITY.is_file() else None)
    if found is None:
        mapped.notes.append(
            f"{_SITE_AUTHORITY} is not there: set site_ca_file to the authority of the subclouds' certificates, or give"
            " --site-ca-file. Sites are not asked without it."
        )
    else:
        mapped.settings["site_ca_file"] = str(found.absolute())


def _add_host_keys(mapped: Mapped, given: HostKeyPolicy | None, present: str) -> None:
    if given is None and is_set(present, _HOST_KEYS):
        # Chosen before: the import is repeated for dcmanager's passwords.
        return
    policy, note = choose_policy(given)
    if policy is not None:
        mapped.settings[_HOST_KEYS] = str(policy)
    if note:
        mapped.notes.append(note)


def _name(setting: str) -> str:
    """Return the file's name for a setting that names it: database_url_file → database-url."""
    return setting.removesuffix("_file").replace("_", "-")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not a text file in UTF-8.") from error


def _write(secrets: dict[Path, str], out: Path, text: str) -> None:
    check_directory(out.absolute().parent)
    try:
        for place in {file.parent for file in secrets}:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be made: {error.strerror}.") from error
    for file, secret in secrets.items():
        write_private(file, secret + "\n")
    # Last, so that it never names what is not there.
    write_private(out, text)


def choose_policy(given: HostKeyPolicy | None) -> tuple[HostKeyPolicy | None, str]:
    """Return what is wanted, as given or as answered on a terminal, and a note.

    Away from a terminal nothing is asked: the setting is left out and the note says what that means.
    """
    if given is not None:
        return given, ""
    if not sys.stdin.isatty():
        return None, _NOT_ASKED
    typer.echo(_QUESTION, err=True)
    answer: HostKeyPolicy = typer.prompt(
        "Host keys", default=str(HostKeyPolicy.ACCEPT_NEW), value_proc=_read_policy, err=True
    )
    return answer, ""


def _read_policy(text: str) -> HostKeyPolicy:
    try:
        return HostKeyPolicy(text.strip())
    except ValueError:
        raise typer.BadParameter(f"give one of {', '.join(HostKeyPolicy)}.") from None
