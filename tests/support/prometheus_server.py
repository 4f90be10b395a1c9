"""A private Prometheus on loopback with our committed configuration, which asks given targets more often."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.support.tcp_proxy import HOST, free_port
from tests.support.waiting import wait_for

CONFIGURATION: Final = Path(__file__).parents[2] / "deploy" / "monitoring"


class Prometheus:
    """What its HTTP interface says."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, path: str, **query: str) -> Any:
        """Return the data of an answer; a query that it cannot read is an HTTPError."""
        with urlopen(f"{self._url}/api/v1/{path}?{urlencode(query)}", timeout=30) as answer:
            return json.load(answer)["data"]

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        try:
            with urlopen(f"{self._url}/-/ready", timeout=30):
                return True
        except OSError:
            return False


@contextmanager
def prometheus_asking(directory: Path, targets: Mapping[str, Mapping[str, str]]) -> Iterator[Prometheus]:
    """Run Prometheus; `targets` has, by the name of a job in our configuration, each address and its name in DNS."""
    document = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
    document["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    document["rule_files"] = [str(CONFIGURATION / "alerts.yml")]
    for job in document["scrape_configs"]:
        for discovery in ("dns_sd_configs", "static_configs"):
            job.pop(discovery, None)
        job["static_configs"] = [
            {"targets": [address], "labels": {"__meta_dns_name": name}}
            for address, name in targets[job["job_name"]].items()
        ]
    file, log, port = directory / "prometheus.yml", directory / "prometheus.log", free_port()
    file.write_text(json.dumps(document))
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}"]
    with log.open("w") as sink:
        process = subprocess.Popen([*command, f"--web.listen-address={HOST}:{port}"], stdout=sink, stderr=sink)
    prometheus = Prometheus(f"http://{HOST}:{port}")
    try:
        wait_for(lambda: process.poll() is not None or prometheus.is_ready(), story=log.read_text)
        assert process.poll() is None, log.read_text()
        yield prometheus
    finally:
        process.kill()
        process.wait()
