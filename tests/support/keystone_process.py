"""Runs Keystone on loopback; started by `keystone_server` with the Python of Keystone's own environment.

Arguments: the configuration file, the port, that for TLS, and the administrator's password. An empty database is filled
first, in this same process, for each command of keystone-manage would take three seconds to start.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Thread

from keystone.cmd import bootstrap
from keystone.common.sql import upgrades
from keystone.server import wsgi
from werkzeug.serving import WSGIRequestHandler, make_server


def fill(password: str, url: str) -> None:
    """Do what db_sync and bootstrap of keystone-manage do."""
    upgrades.offline_sync_database_to_version()
    # The application has loaded them, and Keystone refuses to do it twice.
    bootstrap.backends.load_backends = lambda: None
    first = bootstrap.Bootstrapper()
    first.admin_username = first.project_name = first.admin_role_name = "admin"
    first.admin_password = password
    first.service_name, first.region_id = "keystone", "RegionOne"
    first.public_url = first.internal_url = first.admin_url = url
    first.bootstrap()


class Journal:
    """Notes each request, so that a test can see what was asked and what came of it."""

    def __init__(self, application, file: Path) -> None:
        self._application = application
        self._file = file.open("a", buffering=1)

    def __call__(self, environ, start_response):
        def note(status, headers, exc_info=None):
            self._file.write(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {status.split()[0]}\n")
            return start_response(status, headers, exc_info)

        return self._application(environ, note)


class Handler(WSGIRequestHandler):
    """Says nothing on standard error: the journal has it."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *arguments: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until killed."""
    configuration, port, tls_port, password = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = str(configuration)
    # Keystone reads the arguments of the process too.
    del sys.argv[1:]
    application = wsgi.initialize_public_application()
    done = configuration.with_suffix(".filled")
    if not done.exists():
        fill(password, f"http://127.0.0.1:{port}/v3")
        done.touch()
    journal = Journal(application, configuration.with_suffix(".requests"))
    certificate = (str(configuration.with_suffix(".pem")), str(configuration.with_suffix(".key")))
    secure = make_server(
        "127.0.0.1", tls_port, journal, threaded=True, request_handler=Handler, ssl_context=certificate
    )
    Thread(target=secure.serve_forever, daemon=True).start()
    make_server("127.0.0.1", port, journal, threaded=True, request_handler=Handler).serve_forever()


main()
