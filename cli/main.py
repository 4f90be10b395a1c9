"""The command `prestager`: its arguments, and how errors reach the operator."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Final

from cli.service_command import UNUSED, lean_imports, read_words
from client.errors import ClientError
from runner.process_limits import forbid_memory_dumps

# First word of what the scripts for completion run.
_COMPLETE: Final = "__complete"


def main() -> None:
    """Run the command that the arguments name.

    What a command could not do becomes one sentence and exit code 1, and arguments that are wrong one and exit code 2;
    a traceback means a bug.
    """
    # Every command may read passwords and keys.
    forbid_memory_dumps()
    if isinstance(sys.stdout, TextIOWrapper):
        # A name that the terminal cannot show is no reason to show nothing; standard error does the same.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(sys.argv[1:])
    except ClientError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _complain("Stopped; nothing more was done.")
    except BrokenPipeError:
        # Who read the output has enough; what is left of it must not be written at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        # Not before: it needs the library of the command line.
        from service.error_sentences import error_sentence  # noqa: PLC0415

        said = error_sentence(error)
        if said is None:
            raise
        sentence, faults = said
        _complain(sentence, *faults)
    else:
        sys.exit(code)
    sys.exit(1)


def _run(words: list[str]) -> int:
    """Run a command and return the exit code."""
    if words[:1] == [_COMPLETE]:
        from cli.completion import complete  # noqa: PLC0415

        print(complete(words[1:]))  # noqa: T201 - a script reads it
        return 0
    wanted = read_words(words)
    if wanted is None:
        return _run_any()
    if wanted.is_split:
        with lean_imports(UNUSED):
            # It loads what all roles use.
            from service.role_processes import run_roles  # noqa: PLC0415
        return run_roles()
    with lean_imports(UNUSED):
        from service.process import run_service  # noqa: PLC0415
    run_service(wanted.roles, **wanted.given)
    return 0


def _run_any() -> int:
    # A process of the service goes without the library of the command line, 3 MB.
    from typer.exceptions import Abort, TyperException  # noqa: PLC0415

    from cli.command_table import application  # noqa: PLC0415
    from service.error_sentences import usage_sentence  # noqa: PLC0415

    try:
        code = application()(prog_name="prestager", standalone_mode=False)
    except TyperException as error:
        # Without one the help was printed.
        if error.format_message():
            _complain(usage_sentence(error))
        return error.exit_code
    except Abort:
        _complain("Stopped; nothing more was done.")
        return 1
    # What a command returns is none of the shell's; an exit code is.
    return code if isinstance(code, int) else 0


def _complain(sentence: str, *faults: str) -> None:
    for line in (*(f"  - {fault}" for fault in faults), f"Error: {sentence}"):
        print(line, file=sys.stderr)  # noqa: T201 - this is where errors reach the operator


if __name__ == "__main__":
    main()
