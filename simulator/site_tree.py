"""The files of one simulated site, and the programs that stand in there for those only a real site has.

A site runs as the user of the fleet within a directory of its own; no process becomes root. Its `sudo` checks the
password and then only says that it is root: enough for every task that stays within the site's directory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOGIN: Final = "sysadmin"

# What `sudo` of a site reads: where the password is, the site's directory, and whether anybody may become root.
_PASSWORD_FILE: Final = "FLEET_PASSWORD_FILE"  # noqa: S105 - a variable's name
_SITE: Final = "FLEET_SITE"
_SUDO: Final = "FLEET_SUDO"

_SUDO_SCRIPT: Final = """\
#!/bin/sh
# Stands in for sudo on simulated sites: asks for the password, checks it, and runs the command as who we are already.
prompt='[sudo] password: ' user=root ask=yes
while [ $# -gt 0 ]; do
    case "$1" in
    -p) prompt="$2" && shift ;;
    -u | -g) user="$2" && shift ;;
    -n) ask=no ;;
    --) shift && break ;;
    -*) ;;
    *) break ;;
    esac
    shift
done
if [ "$ask" = no ]; then
    echo 'sudo: a password is required' >&2
    exit 1
fi
printf '%s' "$prompt" >&2
IFS= read -r given
if [ "$given" != "$(cat "$FLEET_PASSWORD_FILE")" ]; then
    printf '\\nSorry, try again.\\nsudo: 1 incorrect password attempt\\n' >&2
    exit 1
fi
unset given
if [ "$FLEET_SUDO" != yes ]; then
    echo "$LOGNAME is not in the sudoers file." >&2
    exit 1
fi
exec env SUDO_USER="$LOGNAME" USER="$user" LOGNAME="$user" HOME="$FLEET_SITE/root" "$@"
"""


def write_programs(directory: Path) -> None:
    """Write the programs of all sites into `directory`, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    sudo = directory / "sudo"
    sudo.write_text(_SUDO_SCRIPT, encoding="utf-8")
    sudo.chmod(0o755)


@dataclass(frozen=True, kw_only=True)
class SiteTree:
    """Paths of one site's files."""

    root: Path

    @property
    def home(self) -> Path:
        """Home of the login user."""
        return self.root / "home"

    @property
    def backup(self) -> Path:
        """Path of the stand-in for /opt/platform-backup."""
        return self.root / "opt" / "platform-backup"

    def feed(self, release: str) -> Path:
        """Path of the stand-in for /var/www/pages/feed/rel-<release>."""
        return self.root / "var" / "www" / "pages" / "feed" / f"rel-{release}"

    def make(self, release: str, feed: Path | None) -> None:
        """Make the directories of a site that runs `release`, with the packages in `feed` as its own; idempotent."""
        for directory in (self.home, self.root / "root", self.backup, self.root / "tmp", self.root / "etc"):
            directory.mkdir(parents=True, exist_ok=True)
        (self.root / "etc" / "build.info").write_text(f'SW_VERSION="{release}"\n', encoding="utf-8")
        own_feed = self.feed(release)
        if feed is not None and not own_feed.is_symlink():
            own_feed.parent.mkdir(parents=True, exist_ok=True)
            # Sites only read their feed: a thousand copies would say no more.
            own_feed.symlink_to(feed)

    def environment(self, *, programs: Path, password_file: Path, may_sudo: bool) -> Mapping[str, str]:
        """Return the whole environment of a command on the site."""
        return {
            "HOME": str(self.home),
            "USER": LOGIN,
            "LOGNAME": LOGIN,
            "SHELL": "/bin/sh",
            "PATH": f"{programs}:{os.defpath}:/usr/local/bin:/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.root / "tmp"),
            _SITE: str(self.root),
            _PASSWORD_FILE: str(password_file),
            _SUDO: "yes" if may_sudo else "no",
        }

    def remove(self) -> None:
        """Remove everything the site has."""
        shutil.rmtree(self.root, ignore_errors=True)
