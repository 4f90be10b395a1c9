"""deploy/haproxy: which requests come to Prestager, with a real haproxy where there is one."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest

from api.routes import GUARDED, PUBLIC
from tests.support.waiting import PATIENCE_S, wait_for
from tests.unit.deploy.deploy_files import ROOT

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")

Ask = Callable[[str, str, str | None], str]
# Words of paths for their places.
REF = re.compile(r"\{\w+\}")


class _NoRedirect(HTTPRedirectHandler):
    """Shows a redirection instead of following it."""

    def redirect_request(self, *_: object) -> None:
        return None


def routes_told_elsewhere() -> tuple[set[str], set[str]]:
    """Return the routes that docs/starlingx.md says stay away from Prestager: with their method, and beginnings."""
    guide = (ROOT / "docs/starlingx.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| stays away from Prestager .*?\n\n", guide, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`((?:[A-Z]+ )?/[^`]*)`", table))
    return {one for one in named if " " in one}, {one for one in named if " " not in one}


def server(name: str) -> ThreadingHTTPServer:
    """Return a server that answers everything with its name."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        do_POST = do_DELETE = do_PATCH = do_GET  # noqa: N815 - as the library calls them

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return made


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Give a function that tells who answers a request."""
    directory = tmp_path_factory.mktemp("haproxy")
    with ExitStack() as stack:
        text = (ROOT / "deploy/haproxy/prestager.cfg").read_text()
        for name, port in {"prestager": 8219, "dcmanager": 8119}.items():
            made = server(name)
            stack.callback(made.server_close)
            stack.callback(made.shutdown)
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{made.server_port}")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        file = directory / "haproxy.cfg"
        file.write_text(text.replace("127.0.0.1:8118", f"127.0.0.1:{port}"))
        log = stack.enter_context((directory / "log").open("w"))
        process = subprocess.Popen([str(HAPROXY), "-db", "-q", "-f", file], stderr=log)
        stack.callback(process.wait)
        stack.callback(process.kill)

        def answer(method: str, path: str, body: str | None) -> str:
            request = Request(
                f"http://127.0.0.1:{port}{path}", method=method, data=None if body is None else body.encode()
            )
            request.add_header("Host", f"controller.example:{port}")
            try:
                with build_opener(_NoRedirect).open(request, timeout=PATIENCE_S) as response:
                    return str(response.read().decode())
            except HTTPError as error:
                with error:
                    return f"{error.code} {error.headers.get('Location', '')}".strip()

        def is_up() -> bool:
            try:
                return answer("GET", "/", None) == "dcmanager"
            except (URLError, ConnectionError):
                return False

        wait_for(is_up, story=(directory / "log").read_text)
        yield answer


def test_haproxy_takes_the_rules(tmp_path: Path) -> None:
    """The file is right by haproxy's own judgement, without a warning."""
    done = subprocess.run(
        [str(HAPROXY), "-c", "-f", ROOT / "deploy/haproxy/prestager.cfg"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert (0, []) == (done.returncode, [line for line in done.stderr.splitlines() if "WARNING" in line])


@pytest.mark.parametrize(
    ("who", "method", "path", "body"),
    [
        ("prestager", "POST", "/v1.0/sw-update-strategy/", '{"cloud_name": "a", "type": "prestage"}'),
        ("prestager", "POST", "/v1.0/sw-update-strategy", '{"type":"prestage"}'),
        ("prestager", "GET", "/v1.0/sw-update-strategy?type=prestage", None),
        ("prestager", "POST", "/v1.0/sw-update-strategy/actions?type=prestage", '{"action": "apply"}'),
        ("prestager", "DELETE", "/v1.0/sw-update-strategy?type=prestage", None),
        ("prestager", "PATCH", "/v1.0/subclouds/subcloud1/prestage", '{"sysadmin_password": "x"}'),
        ("dcmanager", "POST", "/v1.0/sw-update-strategy/", '{"type": "patch", "cloud_name": "prestage"}'),
        ("dcmanager", "GET", "/v1.0/sw-update-strategy?type=patch", None),
        ("dcmanager", "POST", "/v1.0/sw-update-strategy/actions?type=kubernetes", '{"action": "apply"}'),
        ("dcmanager", "GET", "/v1.0/sw-update-strategy/steps", None),
        ("dcmanager", "GET", "/v1.0/subclouds/prestage", None),
        ("dcmanager", "PATCH", "/v1.0/subclouds/subcloud1", '{"type": "prestage"}'),
        ("dcmanager", "GET", "/v1.0/subclouds/?type=prestage", None),
    ],
)
def test_who_answers(ask: Ask, who: str, method: str, path: str, body: str | None) -> None:
    """Only what is about prestaging leaves dcmanager."""
    assert who == ask(method, path, body)


@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/login"])
def test_the_page_is_elsewhere(ask: Ask, path: str) -> None:
    """The page is answered with a redirection to the same path at our own port, under the name that was used."""
    assert f"302 http://controller.example:8219{path}" == ask("GET", path, None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/ui/session"),
        ("GET", "/ui/session"),
        ("DELETE", "/ui/session"),
        ("POST", "/ui/login-code"),
        ("POST", "/ui"),
        ("POST", "/ui/session?type=prestage"),
        ("GET", "/ui/main.js"),
        ("GET", "/ui/login/"),
        ("GET", "/ui//evil.example/"),
    ],
)
def test_nothing_else_of_the_page(ask: Ask, method: str, path: str) -> None:
    """No file of the page and no login comes through, to neither service."""
    assert "404" == ask(method, path, None if method == "GET" else "{}")


def test_each_route_comes_to_us_or_is_told(ask: Ask) -> None:
    """Each route, asked with its type as our page and commands do, comes to us, or the guide says that it does not."""
    bodies = {"POST": '{"type": "prestage"}', "PATCH": "{}"}
    exact, beginnings = routes_told_elsewhere()
    routes = [*((method, path) for method, path, *_ in GUARDED), *(("GET", path) for path, _ in PUBLIC)]
    wrong = []
    for method, path in routes:
        asked = REF.sub("1", path) + ("?type=prestage" if path.startswith("/v1.0/sw-update-strategy") else "")
        comes = ask(method, asked, bodies.get(method)) == "prestager"
        is_told = f"{method} {path}" in exact or any(path == one or path.startswith(f"{one}/") for one in beginnings)
        if comes == is_told:
            wrong.append((method, path, "comes" if comes else "does not come"))

    assert [] == wrong
