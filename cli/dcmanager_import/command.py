"""`prestager config import-dcmanager`: settings from those of dcmanager on the same controller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.dcmanager_import.host_key_prompt import choose_policy
from cli.dcmanager_import.reading import Mapped, map_dcmanager
from cli.dcmanager_import.writing import add_settings, check_directory, is_set, write_private
from service.errors import CommandError
from statemachine.host_keys import HostKeyPolicy

_OUT: Final = Path("/etc/prestager/prestager.toml")
_CREDENTIALS: Final = "credentials"
# The authority that StarlingX signs the certificates of its subclouds with.
_SITE_AUTHORITY: Final = Path("/etc/pki/ca-trust/source/anchors/dc-adminep-root-ca.crt")
_HOST_KEYS: Final = "host_keys"


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
    """Write our settings as far as dcmanager's configuration tells them; passwords go into files beside them.

    The broker's virtual host and the database are our own; what has to be made is told. Run it again after the
    controller's passwords have changed, with --replace.
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
