"""The OpenAPI document and its page: complete, valid, and as committed."""

from __future__ import annotations

import copy
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from schemathesis.specs.openapi.definitions import OPENAPI_31

from api.routes import GUARDED, PUBLIC, add_routes
from apidocs.openapi.assembly import OPERATIONS, build_document
from apidocs.openapi.html import STYLE_SOURCE, render_html
from docs.documents import DOCUMENTS
from messages.requests.base import parse_request

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def document() -> Mapping[str, Any]:
    """The document; tests do not change it."""
    return build_document()


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Give method, path and operation of everything."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_committed_documents_are_those_of_the_code(name: str) -> None:
    """What is committed is what `make documents` writes."""
    assert DOCUMENTS[name]() == (DOCS / name).read_text(encoding="utf-8")


def test_every_route_is_documented_and_nothing_else() -> None:
    """Each handler has one operation; an operation without a route is left over from one."""
    assert {handler for _method, _path, handler, _roles in GUARDED} | {handler for _path, handler in PUBLIC} == set(
        OPERATIONS
    )


def test_the_paths_are_those_of_the_application(document: Mapping[str, Any]) -> None:
    """What the application answers is what the document has, but for HEAD and slashes at the end."""
    app = web.Application()
    add_routes(app.router)
    served = {
        (route.method.lower(), route.resource.canonical.rstrip("/") or "/")
        for route in app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }

    assert served == {(method, path) for method, path, _operation in operations(document)}


def test_the_document_is_openapi(document: Mapping[str, Any]) -> None:
    """It is valid by the schema of OpenAPI 3.1 itself."""
    faults = [error.message for error in Draft202012Validator(OPENAPI_31).iter_errors(document)]

    assert faults == []


def test_every_schema_is_a_schema(document: Mapping[str, Any]) -> None:
    """The OpenAPI schema does not look into schemas; JSON Schema's own does."""
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere(document: Mapping[str, Any]) -> None:
    """No reference points to what is not there, and every component is used."""
    found = set(_references(document))
    components = document["components"]

    assert found == {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in components[kind]}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_operations_have_names_of_their_own(document: Mapping[str, Any]) -> None:
    """No two operations share an id, for generated clients make names of it."""
    ids = [operation["operationId"] for _method, _path, operation in operations(document)]

    assert sorted(set(ids)) == sorted(ids)


def test_roles_are_those_of_the_routes(document: Mapping[str, Any]) -> None:
    """What says who may do it is what lets them; the rest needs no token."""
    told = {(method, path): operation for method, path, operation in operations(document)}

    for method, path, _handler, roles in GUARDED:
        assert sorted(roles) == told[method.lower(), path]["x-roles"]
        assert told[method.lower(), path]["security"]
        assert {"401", "403", "503"} <= told[method.lower(), path]["responses"].keys()
    for path, _handler in PUBLIC:
        assert told["get", path]["security"] == []


def test_examples_are_accepted(document: Mapping[str, Any]) -> None:
    """Every example passes its model and its schema: whoever copies one is not refused for its form."""
    registry = Registry().with_resource("urn:document", DRAFT202012.create_resource(document))
    bodies = [operation.body for operation in OPERATIONS.values() if operation.body is not None]
    for body in bodies:
        schema = {"$ref": f"urn:document#/components/schemas/{body.model.__name__}"}
        for example in body.examples.values():
            parse_request(body.model, example)
            Draft202012Validator(schema, registry=registry).validate(example)
    assert bodies


class _Elements(HTMLParser):
    """Collects what a page is made of; complains of what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _value in attrs}
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name == "href" and value]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def elements(page: str) -> _Elements:
    """Return what a page is made of."""
    found = _Elements()
    found.feed(page)
    assert found.open == []
    return found


def test_the_page_needs_nothing_from_elsewhere(document: Mapping[str, Any]) -> None:
    """No script, no image, no frame, no form, no address of another host, no handler, no style beside the one."""
    page = elements(render_html(document))

    assert page.tags.isdisjoint({"script", "img", "iframe", "form", "link", "object", "embed"})
    assert not [name for name in page.attributes if name.startswith("on") or name in {"style", "src"}]
    assert {link for link in page.links if not link.startswith("#")} == {"openapi.json"}


def test_the_links_of_the_page_lead_somewhere(document: Mapping[str, Any]) -> None:
    """Every link within the page has its target, and every operation and schema is such a target once."""
    page = elements(render_html(document))

    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert sorted(set(page.ids)) == sorted(page.ids)
    assert {operation["operationId"] for _method, _path, operation in operations(document)} <= set(page.ids)
    assert {f"schema-{name}" for name in document["components"]["schemas"]} <= set(page.ids)


def test_only_the_style_of_the_page_is_allowed(document: Mapping[str, Any]) -> None:
    """The source for the Content-Security-Policy is the hash of the style as it stands in the page."""
    style = render_html(document).partition("<style>")[2].partition("</style>")[0]

    assert STYLE_SOURCE == f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"


def test_texts_stay_texts(document: Mapping[str, Any]) -> None:
    """Whatever a text of the document holds, the page shows it and does not obey it."""
    evil = "<script>alert(1)</script>`</code><b>`\"'&"
    wild = _poisoned(copy.deepcopy(dict(document)), evil)

    page = elements(render_html(wild))

    assert page.tags.isdisjoint({"script", "b"})
    assert not [name for name in page.attributes if name.startswith("on")]


def _poisoned(value: Any, evil: str) -> Any:
    """Return the document with `evil` in every text that is nothing but told."""
    told = {"description", "summary", "title", "version", "pattern"}
    if isinstance(value, dict):
        return {
            key: one + evil if key in told and isinstance(one, str) else _poisoned(one, evil)
            for key, one in value.items()
        }
    return [_poisoned(one, evil) for one in value] if isinstance(value, list) else value


def test_defaults_are_what_is_sent(document: Mapping[str, Any]) -> None:
    """The default of a parameter is one of the values that may be sent for it."""
    for _method, path, operation in operations(document):
        for schema in (parameter["schema"] for parameter in operation["parameters"]):
            if "default" in schema:
                assert Draft202012Validator(schema).is_valid(schema["default"]), (path, schema)


def test_what_bodies_know_is_closed(document: Mapping[str, Any]) -> None:
    """A body that refuses unknown names says so, and which it takes without using them."""
    schemas = document["components"]["schemas"]

    assert {name: schemas[name]["additionalProperties"] for name in ("StrategyBody", "NewSubcloud", "GroupChange")} == {
        "StrategyBody": False,
        "NewSubcloud": False,
        "GroupChange": False,
    }
    (pattern,) = schemas["StrategyBody"]["patternProperties"]
    assert "rollback" in pattern
    assert "additionalProperties" not in schemas["ActionBody"]


def test_options_of_actions_have_their_types(document: Mapping[str, Any]) -> None:
    """Each key beside `action` has its type and its bounds, and needs not be sent."""
    schema = document["components"]["schemas"]["ActionBody"]
    wrong = [
        *({"scope": value} for value in ("all", None)),
        *({"reason": value} for value in ("x" * 201, 1)),
        *({"grace-s": value} for value in (-1, 601, "30", 1.5, None)),
        *({"allow-failures": value} for value in (-1, 100_001, "5", True)),
        *({"sysadmin_password": value} for value in ("", 1)),
        *({"stage": value} for value in ("", "A b", 1)),
        *({"note": value} for value in ("x" * 201, 1)),
    ]

    assert ["action"] == schema["required"]
    assert {"action", *(key for one in wrong for key in one)} == schema["properties"].keys()
    for option in wrong:
        assert not Draft202012Validator(schema).is_valid({"action": "pause", **option}), option
