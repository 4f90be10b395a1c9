"""Uses a client that was generated from the API's document; run with the Python of the generator's environment.

Arguments: the API's address, a token, and the longest wait for the strategy's end in seconds. Prints one JSON object of
what it saw.
"""

from __future__ import annotations

import json
import sys
import time
from base64 import b64encode

from prestager_client import AuthenticatedClient
from prestager_client.api.history_and_audit import list_audit
from prestager_client.api.strategy import act_on_strategy, create_strategy, list_steps, show_step_log, show_strategy
from prestager_client.models import ActionBody, ActionBodyAction, StrategyBody


def main(url: str, token: str, patience_s: str) -> dict[str, object]:
    """Make a strategy, have it refused once, run it to its end and read what its steps printed."""
    client = AuthenticatedClient(
        base_url=url, token=token, prefix="", auth_header_name="X-Auth-Token", raise_on_unexpected_status=True
    )
    password = b64encode(b"Li69nux*").decode()
    refused = create_strategy.sync(
        client=client, body=StrategyBody(type_="prestage", sysadmin_password=password, cloud_name="nowhere")
    )
    created = create_strategy.sync(client=client, body=StrategyBody(type_="prestage", sysadmin_password=password))
    applied = act_on_strategy.sync(client=client, body=ActionBody(action=ActionBodyAction.APPLY))
    ended_by = time.monotonic() + float(patience_s)
    while show_strategy.sync(client=client).state == "applying" and time.monotonic() < ended_by:
        time.sleep(0.1)
    audit = list_audit.sync(client=client, limit=1)
    return {
        "refused": [refused.code, refused.title, refused.description],
        "states": [created.state, applied.state, show_strategy.sync(client=client).state],
        "steps": [[step.cloud, step.state] for step in list_steps.sync(client=client).strategy_steps],
        "log": show_step_log.sync(ref="site0", client=client),
        "no log": show_step_log.sync(ref="nowhere", client=client).code,
        "audit": [entry.type_ for entry in audit.audit],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
