"""Keystone: reached, and willing to tell us about tokens. Changes nothing but a login of the service user."""

from __future__ import annotations

from collections.abc import Iterator

from api.errors import KeystoneUnavailableError
from api.keystone.identity import USUAL_ROLES
from cli.doctor.finding import Finding, fail, ok, warn
from service.authentication import keystone_identity
from service.settings import Settings


def keystone_findings(settings: Settings) -> Iterator[Finding]:
    """Check Keystone; does nothing for an installation with tokens of its own."""
    if settings.auth != "keystone":
        yield ok("callers", "are known by the tokens of this installation; see: prestager token list")
        return
    identity = keystone_identity(settings)
    try:
        roles = identity.check()
    except KeystoneUnavailableError as error:
        yield fail(
            "keystone",
            f"{error}. Check PRESTAGER_KEYSTONE_AUTH_URL, that the service user has the role admin or service in its"
            " project, its password, and that Keystone runs.",
        )
        return
    finally:
        identity.close()
    if roles.isdisjoint(USUAL_ROLES):
        yield warn(
            "keystone",
            f"{settings.keystone_username} has neither the role admin nor service in {settings.keystone_project}:"
            " unless Keystone's policy allows it otherwise, it is told about no caller. Give it one of them.",
        )
        return
    yield ok("keystone", f"{settings.keystone_auth_url} tells {settings.keystone_username} about tokens.")
