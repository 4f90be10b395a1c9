"""A real Keystone on loopback with users of every kind, which a test may stop, kill and freeze.

It runs in an environment of its own, made by `bin/setup test`; port, database, keys and log are in a temporary
directory and are gone afterwards, also when the process of the test is killed. A start takes about three seconds.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from tests.support.server import Server, ServerUnavailableError
from tests.support.server_certificates import make_certificate
from tests.support.tcp_proxy import HOST, free_port
from tests.support.waiting import wait_for

_ROOT = Path(__file__).parents[2]
_PYTHON = _ROOT / ".venv-keystone/bin/python"
_PROCESS = Path(__file__).with_name("keystone_process.py")
_KEY_DIRECTORIES = ("fernet", "receipts", "credentials")
_CONFIGURATION = """
[database]
connection = sqlite:///{root}/keystone.db
[fernet_tokens]
key_repository = {root}/fernet
[fernet_receipts]
key_repository = {root}/receipts
[credential]
key_repository = {root}/credentials
[cache]
enabled = true
backend = dogpile.cache.memory
[identity]
# Weak and quick: these passwords protect nothing.
password_hash_rounds = 4
"""
# User → (project, role): what each may do is in contract 2.2. The administrator comes with Keystone.
PEOPLE: Mapping[str, tuple[str, str] | None] = {
    "configurator": ("admin", "configurator"),
    "operator": ("admin", "operator"),
    "reader": ("admin", "reader"),
    "member": ("admin", "member"),
    "stranger": ("demo", "admin"),
    "nobody": None,
    "prestager": ("services", "admin"),
}
_OWN_ROLES = ("configurator", "operator")
_OWN_PROJECTS = ("services", "demo")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request that Keystone answered."""

    method: str
    path: str
    status: int


class KeystoneServer(Server):
    """A running Keystone. Users are called like their roles; all have the same password.

    Attributes:
        port: The same for life, also while it is down.
        password: Of every user, the administrator among them.
        service_user: Who may ask about tokens.

    Raises:
        ServerUnavailableError: It is not installed.
    """

    service_user = "prestager"

    def __init__(self) -> None:
        if not _PYTHON.exists():
            raise ServerUnavailableError("Keystone is not installed; run: bin/setup test")
        super().__init__("prestager-keystone-")
        self.port, self._tls_port, self.password = free_port(), free_port(), secrets.token_urlsafe(16)
        self._configuration = self._root / "keystone.conf"
        self._configuration.write_text(_CONFIGURATION.format(root=self._root), encoding="utf-8")
        self._http = requests.Session()
        self._http.trust_env = False
        try:
            self._start_guarded()
            self._admin = self.login("admin", "admin")
            self._populate()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self.renew_keys()
        make_certificate(self._root, "keystone")

    @property
    def url(self) -> str:
        """Return the address as OS_AUTH_URL has it."""
        return self.url_at(self.port)

    @property
    def secure_url(self) -> str:
        """Return the address where it speaks TLS."""
        return f"https://{HOST}:{self._tls_port}/v3"

    @property
    def certificate(self) -> Path:
        """Return the file of its certificate, signed by itself."""
        return self._configuration.with_suffix(".pem")

    def url_at(self, port: int) -> str:
        """Return the address at another port: that of a proxy before it."""
        return f"http://{HOST}:{port}/v3"

    def start(self) -> None:
        """Start it, which is down; returns when it answers."""
        command = [_PYTHON, _PROCESS, self._configuration, str(self.port), str(self._tls_port), self.password]
        self._launch(command, self._root / "log", cwd=self._root)

    def renew_keys(self) -> None:
        """Make new keys for tokens; all tokens are unknown after the next start."""
        for directory in _KEY_DIRECTORIES:
            (self._root / directory).mkdir(mode=0o700, exist_ok=True)
            for name in ("0", "1"):
                (self._root / directory / name).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))

    def close(self) -> None:
        """End it and remove all it has written; a second call does nothing."""
        self._http.close()
        super().close()

    def seen(self) -> list[Seen]:
        """Return every request since the first start, in order of the answers."""
        lines = (self._root / "keystone.requests").read_text(encoding="utf-8").splitlines()
        return [Seen(method=method, path=path, status=int(status)) for method, path, status in map(str.split, lines)]

    def login(self, user: str, project: str | None = None, domain: str = "Default") -> str:
        """Return a new token of a user, unscoped without a project."""
        person = {"name": user, "domain": {"name": domain}, "password": self.password}
        return self._log_in({"methods": ["password"], "password": {"user": person}}, project, domain)

    def token(self, user: str) -> str:
        """Return a new token of one of the people for the project where they have their role."""
        home = ("admin", "admin") if user == "admin" else PEOPLE[user]
        return self.login(user, home[0] if home else None)

    def short_token(self, user: str, life_s: float) -> str:
        """Return a token of one of the people that expires `life_s` seconds from now."""
        token = self.token(user)
        end = datetime.now(UTC) + timedelta(seconds=life_s)
        wanted = {"name": secrets.token_hex(8), "expires_at": end.strftime("%Y-%m-%dT%H:%M:%S.%f")}
        path = f"/users/{self.id_of(token)}/application_credentials"
        made = self.call("POST", path, {"application_credential": wanted}, token)["application_credential"]
        credential = {"id": made["id"], "secret": made["secret"]}
        return self._log_in({"methods": ["application_credential"], "application_credential": credential}, None, "")

    def id_of(self, token: str) -> str:
        """Return the id of the user of a token."""
        return str(self._validate(token).json()["token"]["user"]["id"])

    def works(self, token: str) -> bool:
        """Tell whether a token is good.

        One that was made within the same second as a revocation of all tokens of its user is not.
        """
        return self._validate(token).ok

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        headers = {"X-Auth-Token": self._admin, "X-Subject-Token": token}
        self._http.delete(f"{self.url}/auth/tokens", headers=headers, timeout=self.deadline_s).raise_for_status()

    def renew_admin(self) -> None:
        """Log the administrator of this server in anew, whose token died with the keys."""
        self._admin = self.login("admin", "admin")

    def disable(self, user: str) -> None:
        """Disable one of the people and revoke all tokens of theirs."""
        self._change_user(user, enabled=False)

    def enable(self, user: str) -> None:
        """Enable one of the people; returns when their new tokens are good."""
        self._change_user(user, enabled=True)
        wait_for(lambda: self.works(self.token(user)), self.deadline_s)

    def add_endpoint(self, kind: str, url: str) -> str:
        """Put a service with one internal endpoint into the catalogue; return the service's id."""
        service = self.call("POST", "/services", {"service": {"type": kind, "name": kind}})["service"]
        endpoint = {"service_id": service["id"], "interface": "internal", "url": url, "region_id": "RegionOne"}
        self.call("POST", "/endpoints", {"endpoint": endpoint})
        return str(service["id"])

    def remove_endpoint(self, service_id: str) -> None:
        """Take a service with its endpoints out of the catalogue."""
        self.call("DELETE", f"/services/{service_id}")

    def add_stranger_at(self, domain: str) -> str:
        """Return a token of an administrator of a project called admin in another domain."""
        made = self.call("POST", "/domains", {"domain": {"name": domain}})["domain"]["id"]
        project = self.call("POST", "/projects", {"project": {"name": "admin", "domain_id": made}})["project"]["id"]
        self._add_user("admin", made, project, self._role_ids()["admin"])
        return self.login("admin", "admin", domain)

    def call(self, method: str, path: str, body: object = None, token: str | None = None) -> Any:
        """Return the answer to a call below /v3, as the administrator unless another token is given."""
        answer = self._http.request(
            method,
            f"{self.url}{path}",
            json=body,
            headers={"X-Auth-Token": token or self._admin},
            timeout=self.deadline_s,
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def _validate(self, token: str) -> requests.Response:
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        return self._http.get(f"{self.url}/auth/tokens?nocatalog", headers=headers, timeout=self.deadline_s)

    def _log_in(self, identity: object, project: str | None, domain: str) -> str:
        scope = {"scope": {"project": {"name": project, "domain": {"name": domain}}}} if project else {}
        answer = self._http.post(
            f"{self.url}/auth/tokens?nocatalog", json={"auth": {"identity": identity, **scope}}, timeout=self.deadline_s
        )
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Subject-Token"]

    def _change_user(self, user: str, **changes: object) -> None:
        found = self.call("GET", f"/users?name={user}&domain_id=default")["users"][0]
        self.call("PATCH", f"/users/{found['id']}", {"user": changes})

    def _populate(self) -> None:
        for role in _OWN_ROLES:
            self.call("POST", "/roles", {"role": {"name": role}})
        for project in _OWN_PROJECTS:
            self.call("POST", "/projects", {"project": {"name": project, "domain_id": "default"}})
        roles = self._role_ids()
        projects = {each["name"]: each["id"] for each in self.call("GET", "/projects")["projects"]}
        for user, home in PEOPLE.items():
            self._add_user(user, "default", *(() if home is None else (projects[home[0]], roles[home[1]])))

    def _role_ids(self) -> dict[str, str]:
        return {role["name"]: role["id"] for role in self.call("GET", "/roles")["roles"]}

    def _add_user(self, name: str, domain_id: str, project_id: str = "", role_id: str = "") -> None:
        user = {"name": name, "password": self.password, "domain_id": domain_id}
        user_id = self.call("POST", "/users", {"user": user})["user"]["id"]
        if role_id:
            self.call("PUT", f"/projects/{project_id}/users/{user_id}/roles/{role_id}")

    def _answers(self) -> bool:
        try:
            return self._http.get(self.url, timeout=self.deadline_s).ok
        except requests.ConnectionError:
            return False
