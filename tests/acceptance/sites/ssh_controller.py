"""A controller with a site behind real SSH, driven over HTTP."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any, Final

from demo.feed import DemoFeeds, build_feeds
from demo.images import build_images
from tests.support.imported_sites import READY, import_sites_at
from tests.support.service_process import ServiceProcess
from tests.support.ssh_server import SshServer
from tests.support.waiting import wait_for

STRATEGY: Final = "/v1.0/sw-update-strategy"
END_S: Final = 90.0


class SshController:
    """A controller with two releases, one image list, and one site behind SSH."""

    def __init__(self, root: Path, server: SshServer) -> None:
        self.root = root
        self.server = server
        self.feeds: DemoFeeds = build_feeds(root / "feed", package_count=10)
        build_images(root / "deploy" / self.feeds.target)
        self.backup = root / "site" / "backup"
        self.backup.mkdir(parents=True)
        self.backup.chmod(0o700)
        site_feed = root / "site" / "feed"
        site_feed.mkdir()
        (site_feed / f"rel-{self.feeds.previous}").symlink_to(root / "feed" / f"rel-{self.feeds.previous}")
        self.service = ServiceProcess(
            root,
            RELEASE=self.feeds.target,
            DEPLOY_DIR=root / "deploy",
            FEED_DIR=root / "feed",
            LOG_LEVEL="debug",
        )
        self.service.prepare()
        self.service.start()
        self.answers: list[Any] = []

    def add(self, name: str, **connection: Any) -> None:
        """Register the site under a name."""
        variables = {
            **READY,
            "prestager_software_version": self.feeds.previous,
            **self.server.host_vars(),
            "platform_backup_dir": str(self.backup),
            "site_feed_dir": str(self.root / "site" / "feed" / f"rel-{self.feeds.previous}"),
            "prestage_min_free_bytes": 1024 * 1024,
            **connection,
        }
        import_sites_at(self.service.database_url, {name: variables})

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request that must succeed, and keep the answer for the search for secrets."""
        status, answer = self.service.ask(method, path, body)
        self.answers.append(answer)
        assert status == 200, answer
        return answer

    def begin_strategy(self, password: str) -> None:
        """Create and apply a strategy."""
        self.ask("POST", STRATEGY, {"type": "prestage", "sysadmin_password": b64encode(password.encode()).decode()})
        self.ask("POST", f"{STRATEGY}/actions", {"action": "apply"})

    def run_strategy(self, password: str) -> dict[str, Any]:
        """Create and apply a strategy, wait for its end, and return its steps by subcloud."""
        self.begin_strategy(password)
        wait_for(lambda: self.ask("GET", STRATEGY)["state"] != "applying", END_S, self.story)
        return {step["cloud"]: step for step in self.ask("GET", f"{STRATEGY}/steps")["strategy-steps"]}

    def story(self) -> str:
        """Return the steps and the end of the service's log."""
        return f"{self.ask('GET', f'{STRATEGY}/steps')}\n{self.service.tail()}"
