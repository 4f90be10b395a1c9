"""Bodies of subclouds: multipart as dcmanager's client sends them, or JSON (contract 4.2)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import yaml
from aiohttp import BodyPartReader, web

from api.context import SERVICES, RequestLimits
from api.errors import ApiError, BootstrapValuesError, body_required, malformed
from api.validation import body_deadline, parse_object, read_object, refuse_early, refuse_unknown_names, too_large
from messages.limits import check_json
from messages.requests.base import Request, taken_names
from messages.requests.subcloud import NewSubcloud, SubcloudChange
from messages.secret_names import secret_names, without_secrets

_FAULT: Final = "bootstrap_values"
_DEPTH: Final = 16


class _Loader(yaml.CSafeLoader):
    """Knows null, true/false and decimal whole numbers; all else is text."""


_Loader.yaml_implicit_resolvers = {}


def _know(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_know("null", r"^(?:~|null|Null|NULL|)$", "~nN\0")
_know("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_know("int", r"^-?(?:0|[1-9][0-9]{0,17})$", "-0123456789")
# An empty scalar has no first character; PyYAML looks it up under the empty string.
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])


def parse_bootstrap_values(content: bytes) -> dict[str, Any]:
    """Return the mapping of a bootstrap values file, values nested as written.

    Raises:
        BootstrapValuesError: It is not UTF-8, not YAML, no mapping, nested too deeply, or uses aliases.
    """
    try:
        text = content.decode("utf-8-sig")
        _refuse_costly(text)
        values = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        raise BootstrapValuesError(f"{_FAULT} is not valid YAML{_place(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise BootstrapValuesError(f"{_FAULT} is not valid YAML") from None
    except ValueError:
        raise BootstrapValuesError(f"{_FAULT} holds a value that cannot be read") from None
    return _mapping(values)


def _mapping(values: object) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise BootstrapValuesError(f"{_FAULT} must be a mapping of names to values")
    fields = {str(key): value for key, value in values.items()}
    try:
        check_json(fields)
    except ValueError:
        raise BootstrapValuesError(f"{_FAULT} holds a value that cannot be read") from None
    return fields


def _refuse_costly(text: str) -> None:
    """Refuse what grows out of proportion: aliases multiply, depth exhausts the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise BootstrapValuesError(f"{_FAULT} must not use aliases")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1
        if depth > _DEPTH:
            raise BootstrapValuesError(f"{_FAULT} is nested too deeply")


def _place(error: yaml.MarkedYAMLError) -> str:
    return f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""


_FILE: Final = "bootstrap_values"
# Ansible connection variables of a site; the one field that is a mapping.
_CONNECTION: Final = "connection"
# The coordinator's sentences for the same errors in commands that came by AMQP.
_NO_CONNECTION: Final = "Invalid connection: give a JSON object of Ansible variables"
_INSTEAD: Final = "passwords come with each prestage command"


@dataclass(frozen=True, kw_only=True)
class SubcloudBody:
    """Fields of a subcloud in a body.

    Attributes:
        fields: The fields that are used, without secrets and files.

        names: Names of all fields that were sent, but for those in the bootstrap values.
    """

    fields: dict[str, Any]
    names: frozenset[str]


async def read_new_subcloud(request: web.Request) -> SubcloudBody:
    """Return a subcloud to add, flat: the fields of the bootstrap values, over them those of the form.

    Nested values, such as the registries of a bootstrap file with their passwords, are left out: they are no fields
    of a subcloud.

    Raises:
        ApiError: 400 for a body that is empty, cannot be read or has unknown names; 408; 413.
    """
    form = await _read_form(request, NewSubcloud, with_file=True)
    flat = {
        key: value for key, value in form.fields.items() if key == _CONNECTION or not isinstance(value, dict | list)
    }
    return SubcloudBody(fields=flat, names=form.names - {_FILE})


async def read_subcloud_change(request: web.Request) -> SubcloudBody:
    """Return the changes of a subcloud.

    Raises:
        ApiError: 400 for a body that is empty, cannot be read or has unknown names; 408; 413.
    """
    return await _read_form(request, SubcloudChange, with_file=False)


async def _read_form(request: web.Request, model: type[Request], *, with_file: bool) -> SubcloudBody:
    if request.content_type == "multipart/form-data":
        fields, names = await _read_multipart(request, model, with_file=with_file)
    else:
        fields = await read_object(request)
        names = frozenset(fields)
    refuse_unknown_names(model, names)
    # A file has many more, which are of the deployment.
    fields = {name: value for name, value in fields.items() if name in taken_names(model)}
    if fields.get(_CONNECTION) is not None:
        fields[_CONNECTION] = _read_connection(fields[_CONNECTION])
    return SubcloudBody(fields=without_secrets(fields), names=names)


def _read_connection(value: object) -> object:
    """Return the connection variables, which a form holds as JSON; no secret may go on in them."""
    try:
        connection = parse_object(value.encode()) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise ApiError(HTTPStatus.BAD_REQUEST, _NO_CONNECTION) from None
    secret = next((place.rpartition(".")[2] for place in secret_names(connection)), None)
    # Dropping it would leave an operator with a site that cannot be reached and no word why.
    if secret is not None:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"Invalid connection: {secret[:64]} looks like a secret; {_INSTEAD}",
        )
    return connection


async def _read_multipart(
    request: web.Request, model: type[Request], *, with_file: bool
) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the fields of a form, and the names of its parts."""
    limits = request.app[SERVICES].limits
    refuse_early(request, limits.multipart_bytes)
    async with body_deadline(request):
        parts = await _read_parts(request, limits)
    if not parts:
        raise body_required()
    names = frozenset(parts)
    document = parts.pop(_FILE, None)
    if with_file and document is None and "name" not in parts:
        raise ApiError(HTTPStatus.BAD_REQUEST, "Missing required file for bootstrap_values")
    _refuse_files(parts, model)
    values = await _bootstrap_values(document, limits) if with_file and document is not None else {}
    return {**values, **_texts(parts)}, names


async def _read_parts(request: web.Request, limits: RequestLimits) -> dict[str, tuple[bool, bytes]]:
    """Return the parts, of a repeated name the last: whether it is a file, and its content.

    One without a name has the empty one, which no model knows.
    """
    parts: dict[str, tuple[bool, bytes]] = {}
    size = count = 0
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or count == limits.part_count:
            raise malformed()
        content = bytes(await part.read())
        size += len(content)
        count += 1
        if size > limits.multipart_bytes:
            raise too_large(limits.multipart_bytes)
        parts[part.name or ""] = (part.filename is not None, content)
    return parts


def _refuse_files(parts: dict[str, tuple[bool, bytes]], model: type[Request]) -> None:
    """Refuse a file in the place of a text, as `curl -F description=@name` sends it; without a word it would be lost.

    Raises:
        ApiError: 400.
    """
    file = next((name for name in sorted(taken_names(model)) if parts.get(name, (False,))[0]), None)
    if file is not None:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"Invalid {file}: give a text, not a file")


async def _bootstrap_values(document: tuple[bool, bytes], limits: RequestLimits) -> dict[str, Any]:
    content = document[1]
    if len(content) > limits.yaml_bytes:
        raise too_large(limits.yaml_bytes)
    try:
        return await asyncio.to_thread(parse_bootstrap_values, content)
    except BootstrapValuesError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, str(error)) from None


def _texts(parts: dict[str, tuple[bool, bytes]]) -> dict[str, str]:
    try:
        texts = {name: content.decode() for name, (is_file, content) in parts.items() if not is_file}
        check_json(texts)
    except ValueError:
        raise malformed() from None
    return texts
