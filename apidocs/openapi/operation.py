"""Description of one route beyond its handler's docstring: parameters, answers, types of answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from apidocs.json_schemas import Generator, Schemas
from messages.inventory_schemas import CountedGroup, ListedSubcloud, Subcloud
from messages.process_schemas import AuditEntry, Worker
from messages.requests.base import Request
from messages.schemas import HistoricStrategy
from messages.step_schemas import HistoricStep, Run, StandaloneStep, Step
from messages.webhook_schemas import CountedWebhook, Delivery

_Next = Annotated[str | None, Field(description="Path of the next page; null on the last.")]


class ErrorPage(TypedDict):
    """Reason why a request was not carried out."""

    code: Annotated[int, Field(description="The HTTP status.")]
    title: str
    description: Annotated[str, Field(description="What is wrong, for people; its words may change.")]


_NextIfLimited = Annotated[
    str | None, Field(description="Path of the next page, null on the last; only where a limit was given.")
]
StepList = TypedDict("StepList", {"strategy-steps": list[Step], "next": NotRequired[_NextIfLimited]})


class SubcloudList(TypedDict):
    """Subclouds that the filters leave."""

    subclouds: list[ListedSubcloud]
    next: NotRequired[_NextIfLimited]


class GroupList(TypedDict):
    """Every group."""

    subcloud_groups: list[CountedGroup]


class GroupMembers(TypedDict):
    """The subclouds of one group."""

    subclouds: list[Subcloud]


class StrategyPage(TypedDict):
    """A page of past and present strategies, newest first."""

    strategies: list[HistoricStrategy]
    next: _Next


class StepPage(TypedDict):
    """A page of the steps of one strategy."""

    steps: list[HistoricStep]
    next: _Next


class PrestagePage(TypedDict):
    """A page of prestages without a strategy and of removals, newest first."""

    prestages: list[StandaloneStep]
    next: _Next


class RunPage(TypedDict):
    """A page of the runs of one step."""

    runs: list[Run]
    next: _Next


class AuditPage(TypedDict):
    """A page of the audit, newest first."""

    audit: list[AuditEntry]
    next: _Next


class WebhookList(TypedDict):
    """Every webhook."""

    webhooks: list[CountedWebhook]


class DeliveryPage(TypedDict):
    """A page of the deliveries of one webhook, newest first."""

    deliveries: list[Delivery]
    next: _Next


class WorkerList(TypedDict):
    """Every process of the installation."""

    workers: list[Worker]


class StreamMessage(TypedDict):
    """One message of the stream; comments between messages keep the connection alive."""

    id: NotRequired[Annotated[str, Field(description="Number of the event, to resume after.")]]
    event: Annotated[str, Field(description="`snapshot`, `dropped`, or the type of an event.")]
    data: Annotated[str, Field(description="JSON.", json_schema_extra={"contentMediaType": "application/json"})]


class VersionLink(TypedDict):
    """Address of a version of the API."""

    rel: Literal["self"]
    href: str


class Version(TypedDict):
    """A version of this API."""

    status: Literal["CURRENT"]
    id: Literal["v1.0"]
    updated: str
    links: list[VersionLink]


class Versions(TypedDict):
    """Every version of this API."""

    versions: list[Version]


class Alive(TypedDict):
    """The process answers."""

    alive: Literal[True]


class Ready(TypedDict):
    """Whether the process can do its work."""

    ready: bool
    checks: Annotated[dict[str, str], Field(description="Each check: `ok`, or one sentence of what is wrong.")]


class Started(TypedDict):
    """Whether the process was ready once."""

    started: bool


@dataclass(frozen=True, kw_only=True)
class Body:
    """The body of the requests of a route."""

    # Validates the body; its JSON Schema is in the document.
    model: type[Request]
    # Example bodies by a short description; each is accepted by the model.
    examples: Mapping[str, Mapping[str, Any]]
    # Whether it may come as multipart/form-data too.
    is_form: bool = False
    # Name and description of the part of a form that is a file.
    file: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Header:
    """A header that a route reads."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Response:
    """A response of a route, other than an error."""

    description: str
    # A type for `TypeAdapter`; text is `str`.
    type: Any = None
    media_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One route. The handler's docstring describes it; path, method and roles are those of the route."""

    # Unique, words with dashes between: the title, and the name in generated clients.
    id: str
    tag: str
    response: Response
    # Description of each error by status. Errors that routes of the kind share are added: see `responses`.
    errors: Mapping[int, str] = field(default_factory=dict)
    # Responses with another status that are no errors.
    other_responses: Mapping[int, Response] = field(default_factory=dict)
    query: type[Request] | None = None
    headers: tuple[Header, ...] = ()
    body: Body | None = None
    # Description and example of `{ref}` in the path.
    ref: tuple[str, str] | None = None
    # Description and example of the number `{id}` in the path.
    number: tuple[str, int] | None = None
    # Carries a command to the coordinator.
    is_command: bool = False
    # Sentences beside the docstring, for readers of the document.
    notes: str = ""


def parameters(query: type[Request]) -> list[dict[str, Any]]:
    """Return the parameters of a query; each may be left out."""
    properties = query.model_json_schema(schema_generator=Generator)["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.pop("description"),
            "schema": _as_sent(_without_null(schema)),
        }
        for name, schema in properties.items()
    ]


def _as_sent(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with a default that is kept as a flag in the word that is sent for it."""
    if schema.get("type") == "string" and isinstance(schema.get("default"), bool):
        return {**schema, "default": str(schema["default"]).lower()}
    return schema


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that is there: text stands for everything but null."""
    others = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return others[0] if len(others) == 1 else schema


_RETRY: Final = {
    "Retry-After": {"description": "How long to wait, in seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
}
# Names and descriptions of errors that routes share, by status.
_SHARED: Final = {
    401: ("Unauthorized", "There is no token, or it is not known."),
    403: ("Forbidden", "The token's role may not do this."),
    408: ("RequestTimeout", "The body did not come in time."),
    413: ("TooLarge", "The body is too large."),
    500: ("InternalServerError", "Something is wrong with the program; its log has the details."),
    503: ("Unavailable", "The database, the broker or the identity service is away. Nothing was changed; try again."),
    504: ("GatewayTimeout", "The command was handed over, but not answered in time; it may still be carried out."),
}
_PARAMETER: Final = "A parameter is wrong."
_BODY: Final = "The body is missing or cannot be read."
_KEY: Final = "The Idempotency-Key is malformed."
_REUSED: Final = "The Idempotency-Key was used for something else."


def shared_responses() -> dict[str, Any]:
    """Return the responses that routes refer to, by name."""
    return {name: _error_response(text, status) for status, (name, text) in _SHARED.items()}


def responses(operation: Operation, schemas: Schemas, *, is_guarded: bool) -> dict[str, Any]:
    """Return the responses of a route by status."""
    found: dict[int, Any] = {200: _response(operation.response, schemas)}
    found |= {status: _response(shown, schemas) for status, shown in operation.other_responses.items()}
    found |= {status: _error_response(text, status) for status, text in _error_descriptions(operation).items()}
    for status in _common_statuses(operation, is_guarded=is_guarded):
        found.setdefault(status, {"$ref": f"#/components/responses/{_SHARED[status][0]}"})
    return {str(status): found[status] for status in sorted(found)}


def _error_descriptions(operation: Operation) -> dict[int, str]:
    """Return the descriptions of the errors of the route itself, by status."""
    reasons: dict[int, list[str]] = {}
    if operation.query is not None:
        reasons[400] = [_PARAMETER]
    if operation.body is not None:
        reasons.setdefault(400, []).append(_BODY)
    for status, text in operation.errors.items():
        reasons.setdefault(status, []).append(text)
    if operation.is_command:
        reasons.setdefault(400, []).append(_KEY)
        reasons.setdefault(409, []).append(_REUSED)
    return {status: " Or: ".join(texts) for status, texts in reasons.items()}


def _common_statuses(operation: Operation, *, is_guarded: bool) -> set[int]:
    found = {500}
    if is_guarded:
        found |= {401, 403, 503}
    if operation.is_command:
        found |= {504}
    if operation.body is not None:
        found |= {408, 413}
    return found


def _response(shown: Response, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.of_type(shown.type)
    return {"description": shown.description, "content": {shown.media_type: {"schema": schema}}}


def _error_response(text: str, status: int) -> dict[str, Any]:
    content = {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorPage.__name__}"}},
        "text/html": {"schema": {"type": "string"}},
    }
    answer: dict[str, Any] = {"description": text, "content": content}
    if status == 503:  # noqa: PLR2004 - the one that is worth trying again
        answer["headers"] = _RETRY
    return answer
