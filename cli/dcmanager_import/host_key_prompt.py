"""Ask the operator what is wanted of the SSH host keys of sites: dcmanager checks none, so its settings do not say."""

from __future__ import annotations

import sys
from typing import Final

import typer

from statemachine.host_keys import HostKeyPolicy

_QUESTION: Final = """\
Playbooks log in at the sites by SSH with a password. What shall count as the host key of a site?
  accept-new  the first key that it presents; a later change stops its prestage before the password is sent
  strict      only keys that you give, by import or with: prestager subcloud set-host-key NAME FILE
  ignore      any key, as with dcmanager: any server that answers at the address of a site is sent the password"""
_NOT_ASKED: Final = (
    "What counts as the SSH host key of a site was not asked: accept-new, the default, does; --host-keys chooses"
    " accept-new, strict or ignore (docs/starlingx.md)."
)


def choose_policy(given: HostKeyPolicy | None) -> tuple[HostKeyPolicy | None, str]:
    """Return what is wanted, as given or as answered on a terminal, and a note.

    Away from a terminal nothing is asked: the setting is left out and the note says what that means.
    """
    if given is not None:
        return given, ""
    if not sys.stdin.isatty():
        return None, _NOT_ASKED
    typer.echo(_QUESTION, err=True)
    answer: HostKeyPolicy = typer.prompt(
        "Host keys", default=str(HostKeyPolicy.ACCEPT_NEW), value_proc=_read_policy, err=True
    )
    return answer, ""


def _read_policy(text: str) -> HostKeyPolicy:
    try:
        return HostKeyPolicy(text.strip())
    except ValueError:
        raise typer.BadParameter(f"give one of {', '.join(HostKeyPolicy)}.") from None
