"""`make compose-test`: build the images, then test the containers in namespaces of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import pytest

from tests.compose.engine import (
    Engine,
    EngineUnavailableError,
    cache_directory,
    check_machine,
    enter,
    enter_network,
    is_inside,
    lock_cache,
)
from tests.compose.images import build_stand_ins
from tests.compose.installation import PROJECT_VARIABLE, Installation

# Reserved for tests of networks: no machine has them, and sites of a fleet are at them.
_ADDRESSES = "198.18.0.0/15"
_HERE = Path(__file__).parent
# For one test, in seconds.
_TEST_S = 900


def main() -> int:
    """Return the exit status of the tests, or 2 with a sentence where this machine cannot run them."""
    engine = Engine(directory=cache_directory())
    try:
        if is_inside():
            return _build_and_test(engine)
        check_machine()
        with lock_cache(engine.directory):
            engine.prepare()
            return enter("tests.compose", engine, sys.argv[1:])
    except EngineUnavailableError as error:
        print(f"compose-test: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _build_and_test(engine: Engine) -> int:
    began = monotonic()
    engine.remove_containers()
    build_stand_ins(engine)
    with TemporaryDirectory(prefix="prestager-compose-") as place:
        # Containers' users have to reach what is mounted.
        Path(place).chmod(0o755)
        installation = Installation(engine=engine, directory=Path(place, "project"))
        installation.prepare()
        installation.build()
        _say(f"images are there after {monotonic() - began:.0f} s")
        enter_network(_ADDRESSES)
        os.environ[PROJECT_VARIABLE] = str(installation.directory)
        options = ["-m", "compose", "-q", "--durations=10", f"--timeout={_TEST_S}"]
        try:
            return int(pytest.main([str(_HERE), *options, *sys.argv[1:]]))
        finally:
            engine.remove_containers()


def _say(text: str) -> None:
    print(f"compose-test: {text}", flush=True)  # noqa: T201


if __name__ == "__main__":
    os.chdir(_HERE.parents[1])
    sys.exit(main())
