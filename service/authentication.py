"""Authentication of callers by the settings: tokens of this installation, or Keystone.

Keystone's library takes 12 MB of every process that loads it, so it is loaded where Keystone is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.auth import Authenticator, TokenAuthenticator
from db.database import Database
from db.tokens import TokenStore
from service.settings import Settings

if TYPE_CHECKING:
    from api.keystone.identity import KeystoneIdentity


def build_authenticator(settings: Settings, database: Database) -> Authenticator:
    """Return the authenticator; nothing is asked yet. It is the caller's to close."""
    if settings.auth == "token":
        return TokenAuthenticator(TokenStore(database))
    from api.keystone.authenticator import KeystoneAuthenticator  # noqa: PLC0415 - see the module

    return KeystoneAuthenticator(
        keystone_identity(settings), timeout_s=settings.keystone_timeout_s, cache_s=settings.keystone_cache_s
    )


def keystone_identity(settings: Settings) -> KeystoneIdentity:
    """Return what asks Keystone, not connected.

    Raises:
        ValueError: The settings are not those of an installation with Keystone.
    """
    if (
        settings.keystone_auth_url is None
        or settings.keystone_username is None
        or settings.keystone_password is None
        or settings.keystone_project is None
    ):
        raise ValueError("Keystone is not set up; its settings are checked where they are read")
    from api.keystone.identity import KeystoneIdentity, ServiceAccount  # noqa: PLC0415 - see the module

    account = ServiceAccount(
        auth_url=settings.keystone_auth_url,
        username=settings.keystone_username,
        password=settings.keystone_password.get_secret_value(),
        user_domain=settings.keystone_user_domain,
        project=settings.keystone_project,
        project_domain=settings.keystone_project_domain,
        ca_file=settings.keystone_ca_file,
    )
    return KeystoneIdentity(account, settings.keystone_timeout_s)
