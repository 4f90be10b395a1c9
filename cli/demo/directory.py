"""The directory of a demonstration: its paths, and the check that only such a directory is ever emptied."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Final

from service.errors import CommandError
from simulator.host_keys import remove_all_but_host_keys

_MARK: Final = ".prestager-demo"
_OUR_PREFIX: Final = "PRESTAGER_"


@dataclass(frozen=True)
class Workplace:
    """Paths of the demonstration; `prepare` makes the directory."""

    root: Path

    @property
    def service_log(self) -> Path:
        """Path of the service's log, JSON lines."""
        return self.root / "service.log"

    @property
    def token_file(self) -> Path:
        """Holds the access token."""
        return self.root / "token"

    @property
    def settings_file(self) -> Path:
        """Sets the variables of the service, for a shell."""
        return self.root / "settings.sh"

    def prepare(self) -> None:
        """Make the directory empty, but for the SSH host keys of the sites.

        Raises:
            CommandError: It holds something that no demonstration made.
        """
        mark = self.root / _MARK
        if self.root.exists() and not mark.exists() and any(self.root.iterdir()):
            raise CommandError(f"{self.root} holds other files; give a directory that is empty or missing with --dir.")
        remove_all_but_host_keys(self.root)
        self.root.mkdir(parents=True, exist_ok=True)
        mark.touch()

    def settings(self, *, release: str, feed_dir: Path, deploy_dir: Path) -> dict[str, str]:
        """Return the variables of a service that works here and disturbs no other of this machine."""
        identity = hashlib.sha256(str(self.root).encode()).hexdigest()[:8]
        return {
            "PRESTAGER_DATA_DIR": str(self.root / "data"),
            "PRESTAGER_RELEASE": release,
            "PRESTAGER_FEED_DIR": str(feed_dir),
            "PRESTAGER_DEPLOY_DIR": str(deploy_dir),
            "PRESTAGER_WORKER_NAME": f"demo-{identity}",
        }

    def write_settings(self, settings: dict[str, str]) -> None:
        """Write the variables down for a shell."""
        lines = [f"export {name}={quote(value)}\n" for name, value in settings.items()]
        self.settings_file.write_text("".join(lines), encoding="utf-8")

    def keep_token(self, token: str) -> None:
        """Write the token down for the commands that the demonstration proposes."""
        descriptor = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{token}\n")


def environment(settings: dict[str, str]) -> dict[str, str]:
    """Return this process's environment with these settings and no others."""
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith(_OUR_PREFIX)}
    return {**others, **settings}
