"""Build the OpenAPI document and its HTML page from routes, operations, models and types; the same every time."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from aiohttp import hdrs
from aiohttp.typedefs import Handler

from api.docs_routes import ApiDocuments
from api.routes import GUARDED, PUBLIC
from apidocs.json_schemas import Schemas
from apidocs.openapi.history import WATCHING
from apidocs.openapi.html import STYLE_SOURCE, render_html
from apidocs.openapi.inventory import GROUPS, SUBCLOUDS
from apidocs.openapi.operation import Body, ErrorPage, Operation, parameters, responses, shared_responses
from apidocs.openapi.strategies import STRATEGIES
from apidocs.openapi.webhooks import WEBHOOKS
from db.tokens import Role
from messages.limits import LARGEST_ID
from messages.process_info import program_version

OPERATIONS: Final[Mapping[Handler, Operation]] = {**STRATEGIES, **SUBCLOUDS, **GROUPS, **WATCHING, **WEBHOOKS}

_ABOUT: Final = """\
Stages a software release on many sites: batch by batch, stoppable, restartable.

Paths below `/v1.0` are found with and without a slash at the end. \
They need a token in the header `X-Auth-Token`, but for those marked otherwise. \
A method that is not here is answered 405 with `Allow`, a path that is not here 404.

Errors are JSON with `code`, `title` and `description`. They are a page of HTML where the header `Accept` prefers \
`text/html`; and, without a preference (`*/*`, or no `Accept`), for dcmanager's client, which is known by the headers \
`X-Project-Id`, `X-User-Id` or `OIDC-Token`. \
Bodies are read as JSON whatever their `Content-Type` says, unless it is `multipart/form-data`; \
keys that are not known are refused, but for those that dcmanager knows, which `info_message` of the answer names. \
Parameters that are not known are refused where the path is not one of dcmanager's too.

Every change is a command. With a header `Idempotency-Key` a command may be repeated: it is carried out once, and each \
repeat hears the first answer."""
_TOKEN: Final = "token"  # noqa: S105 - a name within the document
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Chosen by the caller: the same command under the same key is carried out once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}


@dataclass(frozen=True, kw_only=True)
class _Route:
    """A route and its description."""

    method: str
    path: str
    handler: Handler
    # None: no token is needed.
    allowed: frozenset[Role] | None
    operation: Operation


def build_document() -> dict[str, Any]:
    """Return the document.

    Raises:
        KeyError: A route has no operation.
    """
    routes = list(_routes())
    operations = [route.operation for route in routes]
    schemas = Schemas(
        [operation.body.model for operation in operations if operation.body is not None],
        [ErrorPage, *(shown.type for one in operations for shown in (one.response, *one.other_responses.values()))],
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Prestager",
            "version": program_version(),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": shared_responses(),
            "securitySchemes": {_TOKEN: {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
    }


def _routes() -> Iterator[_Route]:
    for method, path, handler, allowed in GUARDED:
        yield _Route(method=method, path=path, handler=handler, allowed=allowed, operation=OPERATIONS[handler])
    for path, handler in PUBLIC:
        yield _Route(method=hdrs.METH_GET, path=path, handler=handler, allowed=None, operation=OPERATIONS[handler])


def _operation(route: _Route, schemas: Schemas) -> dict[str, Any]:
    operation = route.operation
    told = inspect.cleandoc(route.handler.__doc__ or "").split("\n\n")
    roles = sorted(role.value for role in route.allowed or ())
    notes = [*told, operation.notes, f"Roles: {', '.join(roles)}." if roles else "Needs no token."]
    found: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.id.replace("-", " ").capitalize(),
        "description": "\n\n".join(" ".join(note.split("\n")) for note in notes if note),
        "parameters": _parameters(operation),
        "responses": responses(operation, schemas, is_guarded=route.allowed is not None),
        # An empty list means: without a token.
        "security": [{_TOKEN: []}] if route.allowed is not None else [],
    }
    if roles:
        found["x-roles"] = roles
    if operation.body is not None:
        found["requestBody"] = _body(operation.body, schemas)
    return found


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if operation.ref is not None:
        description, example = operation.ref
        ref = {"name": "ref", "in": "path", "required": True, "description": description, "example": example}
        found.append({**ref, "schema": {"type": "string", "minLength": 1}})
    if operation.number is not None:
        about, number = operation.number
        place = {"name": "id", "in": "path", "required": True, "description": about, "example": number}
        found.append({**place, "schema": {"type": "integer", "minimum": 0, "maximum": LARGEST_ID}})
    if operation.query is not None:
        found += parameters(operation.query)
    found += [
        {"name": one.name, "in": "header", "required": False, "description": one.description, "schema": one.schema}
        for one in operation.headers
    ]
    return [*found, _KEY] if operation.is_command else found


def _body(body: Body, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.of_model(body.model)
    examples = {
        "-".join(re.findall(r"\w+", name)): {"summary": name, "value": value} for name, value in body.examples.items()
    }
    content: dict[str, Any] = {"application/json": {"schema": schema, "examples": examples}}
    if body.is_form:
        content["multipart/form-data"] = {"schema": _form(body, schema, schemas)}
    return {"required": True, "content": content}


def _form(body: Body, schema: dict[str, Any], schemas: Schemas) -> dict[str, Any]:
    """Return the schema of a form: its parts are the fields, as text; a file may give those that are needed."""
    if body.file is None:
        return schema
    name, description = body.file
    fields = schemas.components[body.model.__name__]
    file = {"type": "string", "contentMediaType": "application/yaml", "description": description}
    return {
        "type": "object",
        "properties": {**fields["properties"], name: file},
        "anyOf": [{"required": fields["required"]}, {"required": [name]}],
    }


@cache
def make_documents() -> ApiDocuments:
    """Return the documents, made once in a process: every application of it has the same."""
    document = build_document()
    return ApiDocuments(document_text(), render_html(document), STYLE_SOURCE)


def document_text() -> str:
    """Return the OpenAPI document, to be read by people too."""
    return json.dumps(build_document(), indent=2, ensure_ascii=False) + "\n"
