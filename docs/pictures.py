"""Draw the pictures of docs/pictures.md from the code: `make pictures`.

A test fails when what is committed is not what this draws. The text is Mermaid, which code hosts and many editors
show as a picture. (The diagrams of `transitions` itself name states as they are, and Mermaid takes no blanks in names.)
"""  # noqa: INP001 - a program of its own

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from broker.amqp.topology import EVENTS, EXCHANGES, QUEUES, dead_letters_of
from messages.queues import COMMANDS, COORDINATOR, QUEUE_OF, WORKER_QUEUES
from statemachine.machines import STEP, STRATEGY_TRANSITIONS
from statemachine.states import StepState, StrategyState


def state_diagram(states: Iterable[str], transitions: Sequence[Mapping[str, Any]]) -> str:
    """Return the Mermaid text of one machine."""
    lines = ["stateDiagram-v2", f"    [*] --> {_id('initial')}"]
    lines += [f'    state "{state}" as {_id(state)}' for state in states if _id(state) != state]
    sources: set[str] = set()
    for row in transitions:
        wanted = row["source"] if isinstance(row["source"], list) else [row["source"]]
        sources.update(wanted)
        lines += [f"    {_id(source)} --> {_id(row['dest'])}: {row['trigger']}" for source in wanted]
    lines += [f"    {_id(state)} --> [*]" for state in states if state not in sources]
    return "\n".join(lines)


def architecture() -> str:
    """Return the Mermaid text of processes and queues."""
    served = Counter(QUEUE_OF.values())
    lines = [
        "flowchart LR",
        "    caller([callers]) -->|HTTP| api[API]",
        "    publisher([other publishers]) --> x_commands",
        "    api --> x_commands",
        "    api -.->|reads| store",
        "    api -.->|stream, logs| watchers([watchers])",
        "    coordinator[coordinator] <--> store[(database)]",
        "    worker[workers] <--> store",
        "    worker -->|one process tree each| ansible[ansible-runner] -->|SSH| sites([sites])",
    ]
    lines += [f"    {_exchange(exchange.name)}{{{{{exchange.name}}}}}" for exchange in EXCHANGES]
    lines += [f"    {_exchange(EVENTS)} --> listeners([listeners])", f"    coordinator --> {_exchange(EVENTS)}"]
    lines.append("    coordinator -->|signed| webhooks([webhooks])")
    for queue in (COMMANDS, COORDINATOR, *WORKER_QUEUES):
        source = _exchange(COMMANDS) if queue == COMMANDS else "coordinator"
        source = "worker" if queue == COORDINATOR else source
        target = "worker" if queue in WORKER_QUEUES else "coordinator"
        lines.append(f"    {source} --> {_queue(queue)}[[{queue}]] --> {target}")
        lines.append(f'    {_queue(queue)} -.->|dead letters| letters[["*.XQ"]]')
        if not served[queue] or not any(spec.name == dead_letters_of(queue) for spec in QUEUES):
            raise AssertionError(f"the picture has the queue {queue}, which the program does not use so")
    lines.append("    operator([prestager drain, undrain]) --> x_control --> worker")
    return "\n".join(lines)


def page() -> str:
    """Return docs/pictures.md."""
    parts = (
        ("Processes and queues", architecture()),
        ("A strategy", state_diagram(StrategyState, STRATEGY_TRANSITIONS)),
        ("A step: one subcloud within a strategy", state_diagram(StepState, STEP.transitions)),
    )
    text = "\n\n".join(f"## {title}\n\n{_block(picture)}" for title, picture in parts)
    return f"# Pictures\n\nDrawn from the code by `make pictures`; a test fails when they differ.\n\n{text}\n"


def _block(picture: str) -> str:
    return f"```mermaid\n{picture}\n```"


def _id(state: str) -> str:
    return state.replace(" ", "_").replace("-", "_")


def _exchange(name: str) -> str:
    return f"x_{name.partition('.')[2]}"


def _queue(name: str) -> str:
    return f"q_{name.partition('.')[2]}"


def main() -> None:
    """Write the file."""
    Path(__file__).with_suffix(".md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
