"""The `dcmanager` client's requests and its judgement of answers, for tests (contract 4 to 6, 12).

The client itself is not on the package index, so this repeats what was observed of it: Keystone is asked first with the
library that it uses, the server is found in the catalogue, bytes are written by the same python-requests, and an answer
counts only with status 200 and every key that the client's constructors read. Each command is a new process there, and
so a new login and a new connection here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Final

import requests
from keystoneauth1.identity import generic
from keystoneauth1.session import Session

_TIMEOUT_S: Final = 30.0
_RETRIED: Final = (401, 403)
# What each constructor reads; a missing key ends the command.
_STRATEGY: Final = (
    "type", "subcloud-apply-type", "max-parallel-subclouds", "stop-on-failure", "state", "created-at", "updated-at",
)  # fmt: skip
_STEP: Final = ("cloud", "stage", "state", "details", "started-at", "finished-at", "created-at", "updated-at")
_SUBCLOUD: Final = (
    "id", "name", "description", "location", "software-version", "management-state", "availability-status",
    "deploy-status", "management-subnet", "management-start-ip", "management-end-ip", "management-gateway-ip",
    "systemcontroller-gateway-ip", "created-at", "updated-at", "group_id",
)  # fmt: skip
_DETAIL: Final = (*_SUBCLOUD, "oam_floating_ip", "deploy_config_sync_status", "region_name")
_GROUP: Final = (
    "id", "name", "description", "update_apply_type", "max_parallel_subclouds", "created-at", "updated-at",
)  # fmt: skip

# Words that the client and scripts around it wait for (contract 7.1 and 7.2); None where the client prints nothing.
_STRATEGY_STATES: Final = frozenset(
    {"initial", "applying", "abort requested", "aborting", "complete", "failed", "aborted", "deleting"}
)
_STEP_STATES: Final = frozenset(
    {
        *("initial", "prestage-precheck", "prestage-prepare", "prestaging-packages", "prestaging-images"),
        *("complete", "failed", "aborted"),
    }
)
_WORDS: Final[Mapping[str, frozenset[Any]]] = {
    "management-state": frozenset({"managed", "unmanaged"}),
    "availability-status": frozenset({"online", "offline"}),
    "deploy-status": frozenset({"complete", "not-deployed"}),
    "prestage-status": frozenset({None, "prestaging", "complete", "failed"}),
    "subcloud-apply-type": frozenset({None, "parallel", "serial"}),
    "update_apply_type": frozenset({"parallel", "serial"}),
}

Parts = list[tuple[str, tuple[str | None, str]]]


class CommandFailedError(Exception):
    """What the client prints on standard error before it ends with 1."""


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """What one login at Keystone gives."""

    token: str
    url: str
    project_id: str
    user_id: str


class DcmanagerClient:
    """One user at the command line.

    Args:
        auth_url: OS_AUTH_URL.
        user: OS_USERNAME.
        password: OS_PASSWORD.
        project: OS_PROJECT_NAME.
        site_password: What is given as --sysadmin-password.

    Attributes:
        login_count: How often Keystone was asked for a token.
    """

    def __init__(
        self, auth_url: str, user: str, password: str, project: str = "admin", site_password: str = "Li69nux*"
    ) -> None:
        self._account = {
            "auth_url": auth_url,
            "username": user,
            "password": password,
            "project_name": project,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }
        self._secret = base64.b64encode(site_password.encode()).decode()
        self.login_count = 0

    # prestage-strategy and strategy-step

    def strategy_create(self, cloud: str | None = None, **options: Any) -> dict[str, Any]:
        """Run `prestage-strategy create`; `options` are the keys of the wire."""
        body = {**({"cloud_name": cloud} if cloud else {}), "sysadmin_password": self._secret, **options}
        if "for_sw_deploy" not in body:
            body["for_install"] = "true"
        return self._json("POST", "/sw-update-strategy/", {**body, "type": "prestage"}, _STRATEGY)

    def strategy_show(self) -> dict[str, Any]:
        """Run `prestage-strategy show`."""
        return self._read("/sw-update-strategy?type=prestage", _STRATEGY)

    def strategy_action(self, action: str) -> dict[str, Any]:
        """Run `prestage-strategy apply` or `abort`."""
        return self._json("POST", "/sw-update-strategy/actions?type=prestage", {"action": action}, _STRATEGY)

    def strategy_delete(self) -> dict[str, Any]:
        """Run `prestage-strategy delete`."""
        return _with_keys(self._send("DELETE", "/sw-update-strategy?type=prestage"), _STRATEGY)

    def step_list(self) -> list[dict[str, Any]]:
        """Run `strategy-step list`."""
        return self._list("/sw-update-strategy/steps", "strategy-steps", _STEP)

    def step_show(self, cloud: str) -> dict[str, Any]:
        """Run `strategy-step show`."""
        return self._read(f"/sw-update-strategy/steps/{cloud}", _STEP)

    # subcloud

    def subcloud_add(self, values: str, address: str, group: str) -> dict[str, Any]:
        """Run `subcloud add` with a file of bootstrap values."""
        parts: Parts = [
            ("bootstrap_values", ("f.yml", values)),
            ("bootstrap-address", (None, address)),
            ("sysadmin_password", (None, self._secret)),
            ("group_id", (None, group)),
        ]
        return self._form("POST", "/subclouds/", parts)

    def subcloud_update(self, ref: str, **fields: str) -> dict[str, Any]:
        """Run `subcloud update`, `manage` or `unmanage`: they differ in the fields."""
        parts: Parts = [(name.replace("management_state", "management-state"), (None, v)) for name, v in fields.items()]
        return self._form("PATCH", f"/subclouds/{ref}", parts)

    def subcloud_list(self) -> list[dict[str, Any]]:
        """Run `subcloud list`."""
        return self._list("/subclouds/", "subclouds", _SUBCLOUD)

    def subcloud_show(self, ref: str, *, detail: bool = False) -> dict[str, Any]:
        """Run `subcloud show`, perhaps with `--detail`."""
        if detail:
            return self._read(f"/subclouds/{ref}/detail", _DETAIL)
        return self._read(f"/subclouds/{ref}", _SUBCLOUD)

    def subcloud_errors(self, ref: str) -> str:
        """Run `subcloud errors`."""
        return "".join(self._read(f"/subclouds/{ref}", _SUBCLOUD)["error-description"])

    def subcloud_delete(self, ref: str) -> None:
        """Run `subcloud delete`."""
        self._send("DELETE", f"/subclouds/{ref}")

    def subcloud_prestage(self, ref: str, **options: str) -> dict[str, Any]:
        """Run `subcloud prestage`."""
        body = {"sysadmin_password": self._secret, **options}
        if "for_sw_deploy" not in body:
            body["for_install"] = "true"
        return self._json("PATCH", f"/subclouds/{ref}/prestage", body, (*_SUBCLOUD, "prestage-software-version"))

    # subcloud-group

    def group_add(self, name: str, **options: Any) -> dict[str, Any]:
        """Run `subcloud-group add`."""
        body = {
            "name": name,
            "description": "No description provided",
            "update_apply_type": "parallel",
            "max_parallel_subclouds": 2,
        }
        return self._json("POST", "/subcloud-groups/", {**body, **options}, _GROUP)

    def group_update(self, ref: str, **options: Any) -> dict[str, Any]:
        """Run `subcloud-group update`."""
        return self._json("PATCH", f"/subcloud-groups/{ref}", options, _GROUP)

    def group_list(self) -> list[dict[str, Any]]:
        """Run `subcloud-group list`."""
        return self._list("/subcloud-groups/", "subcloud_groups", _GROUP)

    def group_show(self, ref: str) -> dict[str, Any]:
        """Run `subcloud-group show`."""
        return self._read(f"/subcloud-groups/{ref}", _GROUP)

    def group_subclouds(self, ref: str) -> list[dict[str, Any]]:
        """Run `subcloud-group list-subclouds`."""
        return self._list(f"/subcloud-groups/{ref}/subclouds", "subclouds", _SUBCLOUD)

    def group_delete(self, ref: str) -> None:
        """Run `subcloud-group delete`."""
        self._send("DELETE", f"/subcloud-groups/{ref}")

    # the wire

    def _read(self, path: str, keys: tuple[str, ...]) -> dict[str, Any]:
        return _with_keys(self._send("GET", path), keys)

    def _list(self, path: str, key: str, keys: tuple[str, ...]) -> list[dict[str, Any]]:
        return [_with_keys(each, keys) for each in self._send("GET", path)[key]]

    def _json(self, method: str, path: str, body: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        return _with_keys(self._send(method, path, data=json.dumps(body), headers=headers), keys)

    def _form(self, method: str, path: str, parts: Parts) -> dict[str, Any]:
        return _with_keys(self._send(method, path, files=parts), _SUBCLOUD)

    def _send(self, method: str, path: str, **content: Any) -> Any:
        answer = self._once(method, path, **content)
        if answer.status_code in _RETRIED:
            # The client thinks that its token is old: a fresh login, and everything once more.
            answer = self._once(method, path, **content)
        if answer.status_code != 200:
            raise CommandFailedError(_printed(answer))
        return answer.json()

    def _once(self, method: str, path: str, **content: Any) -> requests.Response:
        entrance = self._enter()
        headers = {
            "x-auth-token": entrance.token,
            "X-Project-Id": entrance.project_id,
            "X-User-Id": entrance.user_id,
            **content.pop("headers", {}),
        }
        url = entrance.url + path
        return requests.request(method, url, headers=headers, timeout=_TIMEOUT_S, **content)

    def _enter(self) -> Entrance:
        """Discover Keystone, log in, and find the server in the catalogue."""
        self.login_count += 1
        plugin = generic.Password(**self._account)
        session = Session(auth=plugin, timeout=_TIMEOUT_S)
        try:
            access = plugin.get_access(session)
            url = access.service_catalog.url_for(service_type="dcmanager", interface="internal")
        finally:
            session.close()
        return Entrance(token=access.auth_token, url=url, project_id=access.project_id, user_id=access.user_id)


def _with_keys(found: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    missing = [key for key in keys if key not in found]
    if missing:
        raise CommandFailedError(f"ERROR (app) {missing[0]!r}")
    _check_words(found)
    return dict(found)


def _check_words(found: Mapping[str, Any]) -> None:
    """Fail where an answer has a word that the client does not know."""
    known = {**_WORDS, "state": _STEP_STATES if "cloud" in found else _STRATEGY_STATES}
    unknown = {key: found[key] for key, words in known.items() if key in found and found[key] not in words}
    assert not unknown, f"words that the client does not know: {unknown}"


def _printed(answer: requests.Response) -> str:
    """Return what the client prints: the second line of a page, and from the third on the details."""
    if "html" not in answer.headers["Content-Type"]:
        return f"ERROR (app) {answer.text}"
    text = _Text()
    text.feed(answer.text)
    lines = [line.strip() for line in "".join(text.found).strip().split("\n")]
    explanation = lines[1] if lines[1].endswith(".") else f"{lines[1]}."
    return f"ERROR (app) {explanation}\nDetails: {' '.join(lines[2:]).strip()}"


class _Text(HTMLParser):
    """Collects the text of a page's body."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "body":
            self.found.clear()

    def handle_data(self, data: str) -> None:
        self.found.append(data)
