"""deploy/haproxy: which requests come to Prestager, with a real haproxy where there is one."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from tests.support.waiting import PATIENCE_S, wait_for
from tests.unit.deploy.deploy_files import ROOT

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")

Ask = Callable[[str, str, str | None], str]


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
            with urlopen(request, timeout=PATIENCE_S) as response:
                return str(response.read().decode())

        def is_up() -> bool:
            try:
                return bool(answer("GET", "/", None))
            except (HTTPError, URLError, ConnectionError):
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
