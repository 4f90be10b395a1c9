"""`prestager fleet`: simulated sites behind real SSH servers, for tests, demonstrations and sizing."""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from shlex import quote
from typing import Annotated, Final

import typer

from demo.feed import DemoFeeds, build_feeds
from demo.images import build_images
from service.errors import CommandError
from simulator.inventory import write_inventory, write_site_urls
from simulator.rules import GRAMMAR, FaultRule, RuleError, SiteFault, read_rule
from simulator.simulation import FIRST_ADDRESS, MOST_SITES, Fleet, FleetPlan, serve_fleet

_MARK: Final = ".prestager-fleet"
_URLS: Final = "site-urls.toml"
# Exists while the sites listen, for scripts that start them.
_READY: Final = "ready"
# What a start makes; host keys stay, and so does what others put there, as the service's data.
_MADE: Final = (
    "controller",
    "sites",
    "programs",
    "inventory.yml",
    _URLS,
    _READY,
    "settings.sh",
    "password",
    "ca.pem",
    "server-*.pem",
)
_LOOPBACK: Final = IPv4Network("127.0.0.0/8")
# Servers of a site: SSH, Keystone, sysinv.
_SERVERS: Final = 3
# Descriptors for connections, commands and the program itself.
_SPARE_DESCRIPTORS: Final = 1000


def fleet(  # noqa: PLR0913, PLR0917 - typer's options
    directory: Annotated[
        Path, typer.Option("--dir", help="Where the sites are made; a former fleet there is made anew.")
    ],
    sites: Annotated[int, typer.Option(min=1, max=MOST_SITES, help="How many sites.")] = 10,
    seed: Annotated[int, typer.Option(help="Decides which sites have a fault: the same seed, the same sites.")] = 0,
    fault: Annotated[
        list[str] | None, typer.Option(help=f"What is wrong with some sites; repeatable. {GRAMMAR}")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="Holds the password of all sites; without it one is made and told where.")
    ] = None,
    release: Annotated[str, typer.Option(help="Release that the sites run.")] = "22.12",
    target: Annotated[str, typer.Option(help="Release to prestage them with.")] = "23.09",
    address: Annotated[
        str, typer.Option(help="Loopback address of the first site; each further site has the next.")
    ] = str(FIRST_ADDRESS),
    free_ports: Annotated[  # noqa: FBT002
        bool, typer.Option("--free-ports", help="Give each server a free port instead of 2222, 5001 and 6386.")
    ] = False,
    max_parallel: Annotated[int, typer.Option(min=1, max=500, help="Sites of the group in one batch.")] = 20,
) -> None:
    """Serve simulated sites until SIGTERM or Ctrl-C: SSH with password, SFTP and sudo, Keystone and sysinv.

    Each site is a directory of this machine and an address of its loopback network; its commands run as the user of
    this program, so the password gives that user's rights. The packages and images of both releases are made
    too; settings.sh in the directory points a service at them.
    """
    began = time.monotonic()
    rules = _read_rules(fault or ())
    first = _read_address(address, sites)
    _allow_descriptors(sites * _SERVERS + _SPARE_DESCRIPTORS)
    root = directory.absolute()
    _empty(root)
    feeds = build_feeds(root / "controller" / "feed", previous=release, target=target)
    plan = FleetPlan(
        directory=root,
        site_count=sites,
        release=release,
        target=target,
        feed=feeds.root,
        rules=rules,
        seed=seed,
        first_address=first,
        free_ports=free_ports,
    )
    with _password(root, password_file) as (password, holder):
        _write_settings(root, feeds, holder)
        try:
            asyncio.run(_serve(plan, password, holder, max_parallel, began))
        except RuleError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(
                f"The sites cannot listen: {error}. Another fleet may be running; use --free-ports or --address."
            ) from error


async def _serve(plan: FleetPlan, password: str, password_file: Path, max_parallel: int, began: float) -> None:
    """Serve until a signal to stop arrives; `began` is when the command did, on the monotonic clock."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with serve_fleet(plan, password, password_file) as served:
        for site in served.sites:
            if SiteFault.REINSTALL in site.faults:
                # No list is handed to a reinstall: its images are what the site itself has.
                build_images(site.tree.backup)
        inventory, urls = plan.directory / "inventory.yml", plan.directory / _URLS
        write_inventory(served, inventory, max_parallel=max_parallel)
        write_site_urls(served, urls)
        _tell(served, password_file, inventory, urls, time.monotonic() - began)
        ready = plan.directory / _READY
        ready.touch()
        try:
            await told.wait()
        finally:
            ready.unlink(missing_ok=True)


def _tell(served: Fleet, password_file: Path, inventory: Path, urls: Path, seconds: float) -> None:
    typer.echo(f"{len(served.sites)} sites made and listening after {seconds:.1f} s.")
    for label, value in {
        "inventory": f"{inventory} (prestager subcloud import)",
        "settings": f"{served.plan.directory / 'settings.sh'} (of a service that prestages them)",
        "password": f"in {password_file}",
        "site URLs": f"{urls} (Keystone and sysinv of each site)",
        "authority": f"{served.ca_file} (of those URLs)",
    }.items():
        typer.echo(f"  {label:<10} {value}")
    faulty = [f"{site.name} {' '.join(site.faults)}" for site in served.sites if site.faults]
    if faulty:
        typer.echo(f"  {'faults':<10} {', '.join(faulty)}")
    typer.echo("Ctrl-C or SIGTERM stops them.")


def _read_rules(texts: Sequence[str]) -> list[FaultRule]:
    """Read every rule, and complain of all that are none at once."""
    rules, faults = [], []
    for text in texts:
        try:
            rules.append(read_rule(text))
        except RuleError as error:
            faults.append(str(error))
    if faults:
        raise CommandError("The faults cannot be understood; see: prestager fleet --help", faults)
    return rules


def _read_address(text: str, sites: int) -> IPv4Address:
    try:
        first = IPv4Address(text)
    except AddressValueError as error:
        raise CommandError(f"--address {text} is no IPv4 address, such as {FIRST_ADDRESS}.") from error
    # Management addresses are in the next /16.
    if first not in _LOOPBACK or (first + sites + (1 << 16)) not in _LOOPBACK:
        raise CommandError(f"--address {text} leaves no {sites} addresses in {_LOOPBACK}; use {FIRST_ADDRESS}.")
    return first


def _allow_descriptors(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise CommandError(f"So many sites need {wanted} open files, and at most {hard} are allowed; see: ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _empty(root: Path) -> None:
    """Make the directory, and remove the fleet that was there but for its SSH host keys; nothing else is removed.

    Raises:
        CommandError: It holds something that no fleet made.
    """
    mark = root / _MARK
    if root.exists() and not mark.exists() and any(root.iterdir()):
        raise CommandError(f"{root} holds other files; give a directory that is empty or missing with --dir.")
    root.mkdir(parents=True, exist_ok=True)
    for path in (path for name in _MADE for path in root.glob(name)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    mark.touch()


def _write_settings(root: Path, feeds: DemoFeeds, password_file: Path) -> None:
    """Make the images of the target, and write the settings of a service down that reads facts at the sites."""
    deploy = root / "controller" / "deploy"
    (deploy / feeds.target).mkdir(parents=True)
    build_images(deploy / feeds.target)
    settings = {
        "PRESTAGER_DATA_DIR": root / "data",
        "PRESTAGER_RELEASE": feeds.target,
        "PRESTAGER_FEED_DIR": feeds.root,
        "PRESTAGER_DEPLOY_DIR": deploy,
        "PRESTAGER_INSPECTOR": "sysinv",
        # No controller is simulated that could be asked whether it is being upgraded.
        "PRESTAGER_CONTROLLER_CHECK": "declared",
        "PRESTAGER_SITE_PASSWORD_FILE": password_file,
        "PRESTAGER_SITE_URLS_FILE": root / _URLS,
        "PRESTAGER_SITE_CA_FILE": root / "ca.pem",
    }
    lines = [f"export {name}={quote(str(value))}\n" for name, value in settings.items()]
    (root / "settings.sh").write_text("".join(lines), encoding="utf-8")


@contextmanager
def _password(root: Path, given: Path | None) -> Iterator[tuple[str, Path]]:
    """Give the password and the file that holds it; a file that was made here is removed at the end.

    Raises:
        CommandError: The given file cannot be used.
    """
    if given is not None:
        yield _read_password(given), given.absolute()
        return
    made = root / "password"
    password = secrets.token_urlsafe(16)
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{password}\n")
    try:
        yield password, made
    finally:
        made.unlink(missing_ok=True)


def _read_password(file: Path) -> str:
    try:
        password = file.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--password-file {file} cannot be read: {error}") from error
    if not password or "\n" in password:
        raise CommandError(f"--password-file {file} must hold one line, the password.")
    return password
