"""The OpenAPI document as an HTML page, without scripts and without content from elsewhere.

A function of the document alone, so it shows nothing that the document does not have.
"""

from __future__ import annotations

import json
import shlex
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

from apidocs.openapi.html_schemas import details, field_list, prose, schema_articles, type_text

_STYLE: Final = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
# Allows this style and no other.
STYLE_SOURCE: Final = f"'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: the API</title>
<style>{style}</style>
</head>
<body>
<nav aria-label="Contents">{contents}</nav>
<main>
<h1>{title} <small>{version}</small></h1>
{about}
<p>In the examples <code>$api</code> is where this page comes from, such as <code>http://127.0.0.1:8119</code>, \
and <code>$TOKEN</code> a token. For programs: <a href="openapi.json">openapi.json</a>.</p>
{sections}
<h2 id="schemas">Schemas</h2>
{schemas}
</main>
</body>
</html>
"""


class _Route(NamedTuple):
    method: str
    path: str
    operation: Mapping[str, Any]


def render_html(document: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI document of ours."""
    routes = [
        _Route(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    by_tag = {tag["name"]: [one for one in routes if tag["name"] in one.operation["tags"]] for tag in document["tags"]}
    info = document["info"]
    return _PAGE.format(
        title=escape(info["title"]),
        version=escape(info["version"]),
        style=_STYLE,
        about=prose(info["description"]),
        contents="".join(_contents(by_tag)),
        sections="\n".join(_sections(by_tag, document)),
        schemas="\n".join(schema_articles(document["components"]["schemas"])),
    )


def _contents(by_tag: Mapping[str, Iterable[_Route]]) -> Iterator[str]:
    for tag, routes in by_tag.items():
        links = "".join(
            f'<li><a href="#{escape(one.operation["operationId"])}">{_method(one.method)}'
            f" {escape(one.operation['summary'])}</a></li>"
            for one in routes
        )
        yield f"<h2>{escape(tag)}</h2><ul>{links}</ul>"
    yield '<h2>Objects</h2><ul><li><a href="#schemas">Schemas</a></li></ul>'


def _sections(by_tag: Mapping[str, Iterable[_Route]], document: Mapping[str, Any]) -> Iterator[str]:
    for tag, routes in by_tag.items():
        yield f"<h2>{escape(tag)}</h2>"
        for route in routes:
            yield _article(route, document)


def _article(route: _Route, document: Mapping[str, Any]) -> str:
    operation = route.operation
    parts = [
        f"<h3>{escape(operation['summary'])}</h3>",
        f'<p class="route">{_method(route.method)} <code>{escape(route.path)}</code></p>',
        prose(operation["description"]),
    ]
    if operation["parameters"]:
        parts += ["<h4>Parameters</h4>", field_list(map(_parameter, operation["parameters"]))]
    if "requestBody" in operation:
        parts += ["<h4>Body</h4>", *_body(operation["requestBody"])]
    parts += ["<h4>Answers</h4>", field_list(_answers(operation["responses"], document), "answers")]
    parts += [f'<h4>Example</h4><pre tabindex="0">{escape(text)}</pre>' for text in [_curl(route)]]
    return f'<article id="{escape(operation["operationId"])}">{"".join(parts)}</article>'


def _method(method: str) -> str:
    return f'<span class="method {escape(method)}">{escape(method.upper())}</span>'


def _parameter(one: Mapping[str, Any]) -> tuple[str, str]:
    where = "" if one["in"] == "query" else f' <span class="soft">{escape(one["in"])}</span>'
    needed = ' <span class="needed">needed</span>' if one["required"] else ""
    return f"<code>{escape(one['name'])}</code>{where}{needed}", prose(one["description"]) + details(one["schema"])


def _body(body: Mapping[str, Any]) -> Iterator[str]:
    for media_type, content in body["content"].items():
        yield f"<p><code>{escape(media_type)}</code>: {_body_type(content['schema'])}</p>"
        for example in content.get("examples", {}).values():
            text = json.dumps(example["value"], indent=2, ensure_ascii=False)
            yield f'<p class="soft">{escape(example["summary"])}</p><pre tabindex="0">{escape(text)}</pre>'


def _body_type(schema: Mapping[str, Any]) -> str:
    """Return the type of a body; a form has the same fields as the JSON above it, and may have files."""
    files = {name: one for name, one in schema.get("properties", {}).items() if "contentMediaType" in one}
    if not files:
        return type_text(schema)
    told = ", ".join(f"a file <code>{escape(name)}</code>: {escape(one['description'])}" for name, one in files.items())
    return f"the same fields as parts, and {told}"


def _answers(responses: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for status, found in responses.items():
        answer = found
        if "$ref" in found:
            answer = document["components"]["responses"][found["$ref"].rpartition("/")[2]]
        shown = ""
        # Errors all have the same type, so it is left out.
        if "text/html" not in answer["content"] or len(answer["content"]) == 1:
            shown = "; ".join(
                f"<code>{escape(media_type)}</code>: {type_text(content['schema'])}"
                for media_type, content in answer["content"].items()
            )
        headers = "".join(f" <code>{escape(name)}</code>" for name in answer.get("headers", ()))
        told = f'<p class="soft">{shown}{headers}</p>' if shown or headers else ""
        yield f"<code>{escape(status)}</code>", prose(answer["description"]) + told


def _curl(route: _Route) -> str:
    path = route.path
    for one in route.operation["parameters"]:
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", str(one["example"]))
    options = ["" if route.method == "get" else f"-X {route.method.upper()}"]
    options += ['-H "X-Auth-Token: $TOKEN"' if route.operation["security"] else ""]
    content = route.operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    example = next(iter(content.get("examples", {}).values()), None)
    if example is not None:
        options.append(f"-d {shlex.quote(json.dumps(example['value'], ensure_ascii=False))}")
    if any("text/event-stream" in answer.get("content", ()) for answer in route.operation["responses"].values()):
        options.append("-N")
    separator = " \\\n  " if example is not None else " "
    return separator.join([" ".join(["curl", *filter(None, options[:2])]), *filter(None, options[2:]), f'"$api{path}"'])
