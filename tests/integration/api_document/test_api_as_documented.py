"""The API answers as its document says, whatever it is sent: Schemathesis makes the requests from the document.

In the test run a few hundred requests, the same each time; `make api-fuzz` sends thousands of others, with each bound
of each field, and prints the seed with which they can be sent again.
"""

from __future__ import annotations

import copy
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
import structlog

from apidocs.openapi.assembly import OPERATIONS, build_document
from tests.integration.api_document.served_installation import Served, served_installation

# Requests of the fuzzer for each operation; None: the few of the test run.
EXAMPLES = os.environ.get("PRESTAGER_FUZZ_EXAMPLES")
SEED = int(os.environ.get("PRESTAGER_FUZZ_SEED", "0")) or (Random().getrandbits(32) if EXAMPLES else 1)
GOOD_KEY = re.compile(r"[!-~]{1,100}")
# Characters of path and query. A longer line is refused in plain text before any route: a selector of 4-byte characters
# in percent signs can be.
LONGEST_TARGET = 8000
# What an operation must have answered at least once, or the run looked at nothing but errors.
REACHED = {
    "GET /v1.0/events": 200,
    "GET /v1.0/strategies/{ref}": 200,
    "GET /v1.0/strategies/{ref}/steps": 200,
    "GET /v1.0/subclouds/{ref}": 200,
    "GET /v1.0/sw-update-strategy/steps/{ref}/log": 200,
    "PATCH /v1.0/subclouds/{ref}": 200,
    "POST /v1.0/subclouds": 200,
    "POST /v1.0/subcloud-groups": 200,
    "POST /v1.0/sw-update-strategy": 200,
}


@dataclass
class Run:
    """What came of all requests."""

    faults: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A whole installation; its log is not looked at."""
    with structlog.testing.capture_logs(), served_installation(tmp_path) as served:
        yield served


# Schemathesis itself does that, for some names of parameters.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.timeout(1800 if EXAMPLES else 300)
def test_the_api_answers_as_documented(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """No 500, no answer that the document does not have, no key that a schema does not have, no way past the token."""
    with capsys.disabled():
        print(f"\nSchemathesis: PRESTAGER_FUZZ_SEED={SEED}")  # noqa: T201 - to send the same again
    run = _run(served)

    assert not run.faults, f"{len(run.faults)} faults with seed {SEED}, such as\n" + "\n\n".join(run.faults[:20])
    assert {label: status for label, status in REACHED.items() if not run.answers[label, status]} == {}


def _run(served: Served) -> Run:
    # Takes a second to import, and is needed nowhere else.
    import schemathesis  # noqa: PLC0415
    from schemathesis.engine import Status, events, from_schema  # noqa: PLC0415
    from schemathesis.hooks import GLOBAL_HOOK_DISPATCHER  # noqa: PLC0415

    run = Run()
    before_call = _varied()
    schemathesis.hook("before_call")(before_call)
    try:
        schema = schemathesis.openapi.from_dict(_closed(build_document()), config=_config(served))
        for event in from_schema(schema).execute():
            if isinstance(event, events.NonFatalError | events.FatalError):
                run.faults.append(str(getattr(event, "value", None) or getattr(event, "exception", event)))
            if not isinstance(event, events.ScenarioFinished):
                continue
            unread: set[str] = set()
            for case_id, interaction in event.recorder.interactions.items():
                if len(urlsplit(interaction.request.uri)._replace(scheme="", netloc="").geturl()) > LONGEST_TARGET:
                    unread.add(case_id)
                elif interaction.response is not None:
                    run.answers[str(event.label), interaction.response.status_code] += 1
            run.faults += [
                f"{event.label}: {check.failure_info.failure.title}: {check.failure_info.failure.message}\n"
                f"    {check.failure_info.code_sample}"
                for case_id, checks in event.recorder.checks.items()
                for check in checks
                if case_id not in unread and check.status == Status.FAILURE and check.failure_info is not None
            ]
    finally:
        GLOBAL_HOOK_DISPATCHER.unregister(before_call)
    return run


def _config(served: Served) -> Any:
    from schemathesis.config import SchemathesisConfig  # noqa: PLC0415 - as above

    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "base-url": served.url,
            "headers": {"X-Auth-Token": served.token},
            "request-timeout": 30,
            "continue-on-failure": True,
            "generation": {
                "max-examples": int(EXAMPLES or 6),
                "deterministic": EXAMPLES is None,
                "no-shrink": EXAMPLES is None,
                "database": "none",
            },
            # Nothing links one operation to another. The bounds of all fields are thousands of requests.
            "phases": {"stateful": {"enabled": False}, "coverage": {"enabled": EXAMPLES is not None}},
            "checks": {
                # A request in due form may be refused for how things stand.
                "positive_data_acceptance": {"enabled": False},
                # The only one is the token, at which `ignored_auth` looks; this one stumbles over our hook.
                "missing_required_header": {"enabled": False},
            },
        }
    )


def _closed(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with what is shown closed: a key that is shown and not documented is a fault here.

    The short run leaves out further spellings of fields, which would make half of all its requests.
    """
    closed = copy.deepcopy(document)
    sent = {operation.body.model.__name__ for operation in OPERATIONS.values() if operation.body is not None}
    for name, schema in closed["components"]["schemas"].items():
        if "properties" in schema and name not in sent:
            schema["additionalProperties"] = False
    return closed if EXAMPLES else _without_spellings(closed)


def _without_spellings(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_spellings(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_spellings(one)
        for key, one in value.items()
        if not (isinstance(one, dict) and str(one.get("description", "")).startswith("Another spelling"))
    }


def _varied() -> Any:
    """Return a hook that has every command carried out, and half of the errors shown as to dcmanager's client."""
    number = count()

    def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
        key = (case.headers or {}).get("Idempotency-Key")
        # A key that was used before gets the answer of then.
        if isinstance(key, str) and GOOD_KEY.fullmatch(key):
            case.headers["Idempotency-Key"] = f"{key}-{next(number)}"
        if next(number) % 2:
            case.headers = {**(case.headers or {}), "Accept": "*/*", "X-Project-Id": "a"}

    return before_call
