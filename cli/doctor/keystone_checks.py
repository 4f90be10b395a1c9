"""Keystone: reached, and willing to tell us about tokens. Changes nothing but a login of the service user."""

from __future__ import annotations

from collections.abc import Iterator

from api.keystone.identity import KeystoneUnavailableError
from cli.authentication import keystone_identity
from cli.doctor.finding import Finding, fail, ok
from settings import Settings


def keystone_findings(settings: Settings) -> Iterator[Finding]:
    """Look at what knows the callers; an installation with tokens of its own asks nobody."""
    if settings.auth != "keystone":
        yield ok("callers", "are known by the tokens of this installation; see: prestager token list")
        return
    identity = keystone_identity(settings)
    try:
        identity.check()
    except KeystoneUnavailableError as error:
        yield fail(
            "keystone",
            f"{error}. Check PRESTAGER_KEYSTONE_AUTH_URL, that the service user has the role admin in its project, its"
            " password, and that Keystone runs.",
        )
        return
    finally:
        identity.close()
    yield ok("keystone", f"{settings.keystone_auth_url} tells {settings.keystone_username} about tokens.")
