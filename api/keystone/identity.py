"""Validate tokens at Keystone, with a service user. Blocks; used in threads, by several at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import Final

from keystoneauth1.exceptions import ClientException, ConnectFailure, ConnectTimeout, HttpError, SSLError
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from pydantic import AwareDatetime, BaseModel

from api.auth import Caller, Credentials
from api.errors import KeystoneUnavailableError

# Keystone allows 255 characters, which with the id would be too long for an event's field.
_SHOWN_NAME_LENGTH: Final = 100


@dataclass(frozen=True, kw_only=True)
class ValidToken:
    """A token that Keystone has validated."""

    caller: Caller
    # When Keystone stops taking it, on Keystone's clock.
    expires_at: datetime


class _Domain(BaseModel):
    name: str | None = None


class _User(BaseModel):
    id: str
    name: str


class _Project(BaseModel):
    name: str
    domain: _Domain | None = None


class _Role(BaseModel):
    name: str


class _Token(BaseModel):
    user: _User
    # Missing with an unscoped token and with one for a domain or the whole system.
    project: _Project | None = None
    roles: tuple[_Role, ...] = ()
    is_domain: bool = False
    expires_at: AwareDatetime


class _ValidationBody(BaseModel):
    token: _Token


class _ErrorCode(BaseModel):
    code: int


class _ErrorBody(BaseModel):
    error: _ErrorCode


def read_token(body: bytes, project_domain: str) -> ValidToken:
    """Return the caller in Keystone's response to a validation.

    A project counts only when it is in `project_domain`: the manager of another domain may call a project `admin`.

    Raises:
        ValueError: The body is no such response; the message may quote it.
    """
    token = _ValidationBody.model_validate_json(body).token
    project = token.project
    at_home = (
        project is not None
        and not token.is_domain
        and project.domain is not None
        and project.domain.name == project_domain
    )
    return ValidToken(
        caller=Caller(
            name=_name(token.user),
            # Role names are equal in any case, for Keystone as for its policies.
            roles=frozenset(role.name.lower() for role in token.roles),
            project=project.name if project is not None and at_home else None,
        ),
        expires_at=token.expires_at,
    )


def is_keystone_error(body: bytes, code: int) -> bool:
    """Return whether the body of an error is Keystone's own, rather than that of a proxy."""
    try:
        return _ErrorBody.model_validate_json(body).error.code == code
    except ValueError:
        return False


def _name(user: _User) -> str:
    # Names repeat among domains and over time; ids never do. The name is for readers of logs.
    shown = "".join(letter if letter.isprintable() else "?" for letter in user.name[:_SHOWN_NAME_LENGTH])
    return f"{shown} ({user.id})"


_VERSION: Final = "/v3"
_NO_ANSWER: Final = "Keystone does not answer"
_NOT_TRUSTED: Final = "Keystone's certificate is not trusted"
_REFUSED: Final = "Keystone refuses the service user"
# Of the service user: unknown, wrong password, no right to ask about tokens, disabled project.
_REFUSALS: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
# Any of these lets a user ask about others, unless Keystone's policy was changed.
USUAL_ROLES: Final = frozenset({"admin", "service"})


@dataclass(frozen=True, kw_only=True)
class ServiceAccount:
    """Address of Keystone, and the service user with which tokens are validated."""

    # With or without /v3.
    auth_url: str
    username: str
    password: str = field(repr=False)
    user_domain: str
    project: str
    project_domain: str
    # Certificates to trust; None: those that Python trusts.
    ca_file: Path | None


class KeystoneIdentity:
    """Validates tokens at Keystone.

    Args:
        account: The service user; logged in at the first question, and anew when Keystone forgot the login.
        timeout_s: How long one call waits for Keystone, in seconds; a question may take up to four calls.
    """

    def __init__(self, account: ServiceAccount, timeout_s: float) -> None:
        self._url = f"{account.auth_url.rstrip('/').removesuffix(_VERSION)}{_VERSION}"
        self._project_domain = account.project_domain
        self._user_domain = account.user_domain
        self._plugin = v3.Password(
            self._url,
            username=account.username,
            password=account.password,
            user_domain_name=account.user_domain,
            project_name=account.project,
            project_domain_name=account.project_domain,
            include_catalog=False,
        )
        self._session = Session(
            auth=self._plugin,
            verify=str(account.ca_file) if account.ca_file else True,
            timeout=timeout_s,
            # A token goes where the settings say, and nowhere else.
            redirect=False,
            user_agent="prestager",
        )
        # Neither proxies nor passwords come from the environment or ~/.netrc.
        self._session.session.trust_env = False
        self._login = Lock()
        # Whether Keystone last failed to answer because the service user may not ask.
        self._was_forbidden = False

    def validate(self, token: str) -> ValidToken | None:
        """Return a token as Keystone knows it; None: it is unknown, expired or revoked.

        Raises:
            KeystoneUnavailableError: Keystone cannot tell.
        """
        status, body = self._answer(token)
        if status == HTTPStatus.OK:
            try:
                return read_token(body, self._project_domain)
            except ValueError:
                raise KeystoneUnavailableError("Keystone's answer cannot be understood") from None
        if status == HTTPStatus.NOT_FOUND and is_keystone_error(body, status):
            return None
        self._was_forbidden = status == HTTPStatus.FORBIDDEN
        raise KeystoneUnavailableError(_REFUSED if status in _REFUSALS else f"Keystone answers with HTTP {status}")

    def log_in(self, account: Credentials) -> str | None:
        """Return a new token of a user; None: Keystone refuses user, password or project.

        Raises:
            KeystoneUnavailableError: It does not answer, or not to be understood.
        """
        plugin = v3.Password(
            self._url,
            username=account.username,
            password=account.password,
            user_domain_name=account.domain or self._user_domain,
            project_name=account.project,
            project_domain_name=self._project_domain,
            include_catalog=False,
        )
        try:
            return plugin.get_token(self._session)
        except HttpError as error:
            if error.http_status in _REFUSALS:
                return None
            raise KeystoneUnavailableError(f"Keystone answers a login with HTTP {error.http_status}") from None
        except SSLError:
            raise KeystoneUnavailableError(_NOT_TRUSTED) from None
        except (ClientException, OSError):
            raise KeystoneUnavailableError(_NO_ANSWER) from None

    def check(self) -> frozenset[str]:
        """Return the roles of the service user, when Keystone validates tokens.

        Every user may validate a token of their own, so this alone does not prove that the service user may validate
        those of others.

        Raises:
            KeystoneUnavailableError: It does not answer, or has refused to validate the token of a caller.
        """
        # A token of ours that has died meanwhile is found out by the first question, and replaced.
        known = self.validate(self._service_token()) or self.validate(self._service_token())
        if known is None or (self._was_forbidden and known.caller.roles.isdisjoint(USUAL_ROLES)):
            raise KeystoneUnavailableError(_REFUSED)
        return known.caller.roles

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()

    def _answer(self, token: str) -> tuple[int, bytes]:
        own = self._service_token()
        status, body = self._ask(token, own)
        if status == HTTPStatus.UNAUTHORIZED:
            # That is our own token, not the caller's (contract 12.2): one new login, one repeat.
            status, body = self._ask(token, self._service_token(instead_of=own))
        return status, body

    def _ask(self, token: str, own: str) -> tuple[int, bytes]:
        try:
            return self._get(token, own)
        except ConnectTimeout:
            raise KeystoneUnavailableError(_NO_ANSWER) from None
        except (ConnectFailure, OSError):
            # Keystone may have closed an idle connection at this very moment; asking again is safe.
            try:
                return self._get(token, own)
            except (ClientException, OSError):
                raise KeystoneUnavailableError(_NO_ANSWER) from None
        except ClientException:
            raise KeystoneUnavailableError(_NO_ANSWER) from None

    def _get(self, token: str, own: str) -> tuple[int, bytes]:
        response = self._session.get(
            f"{self._url}/auth/tokens?nocatalog",
            headers={"X-Auth-Token": own, "X-Subject-Token": token},
            authenticated=False,
            raise_exc=False,
            log=False,
        )
        return response.status_code, response.content

    def _service_token(self, *, instead_of: str | None = None) -> str:
        """Return the service user's token, from a new login when there is none, or none but `instead_of`.

        Of many that find the same token dead one logs in, and the others take what it got.
        """
        try:
            with self._login:
                if instead_of is not None and self._plugin.get_token(self._session) == instead_of:
                    self._plugin.invalidate()
                token = self._plugin.get_token(self._session)
        except HttpError as error:
            refused = error.http_status in _REFUSALS
            raise KeystoneUnavailableError(
                _REFUSED if refused else f"Keystone answers a login with HTTP {error.http_status}"
            ) from None
        except SSLError:
            raise KeystoneUnavailableError(_NOT_TRUSTED) from None
        except (ClientException, OSError):
            raise KeystoneUnavailableError(_NO_ANSWER) from None
        if token is None:
            raise KeystoneUnavailableError(_REFUSED)
        return token
