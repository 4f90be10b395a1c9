"""Fixtures of the fault tests: one broker and one database server for all of them, an installation for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from db.database import Database
from db.migrate import upgrade
from db.tokens import Role, TokenStore
from tests.faults.fault_installation import FaultInstallation, NewInstallation
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import StrictRabbitmq
from tests.support.virtual_host import VirtualHost, new_virtual_host


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "faults: kills, freezes and restarts real processes; see PRESTAGER_FAULT_ROUNDS")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Give a private PostgreSQL."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[StrictRabbitmq]:
    """Give a private RabbitMQ that takes deliveries back after 5 s."""
    with StrictRabbitmq() as server:
        yield server


@pytest.fixture
def host(rabbitmq: StrictRabbitmq) -> Iterator[VirtualHost]:
    """Give a virtual host of its own; to be asked for first, so that it goes last."""
    with new_virtual_host(rabbitmq) as host:
        yield host


@pytest.fixture(scope="session")
def migrated(postgres: PostgresServer) -> tuple[str, str]:
    """Give the name of a database to copy from, with the schema and an administrator's token, and that token."""
    name = postgres.create_database()
    database = Database(postgres.url(name))
    upgrade(database)
    token = TokenStore(database).create_token("test", Role.ADMIN)
    database.close()
    return name, token


def copy_of(postgres: PostgresServer, template: str) -> str:
    """Return the address of a copy of a database.

    By files: in a copy made by PostgreSQL 15's default way, sequences that were in use go back when the server crashes.
    """
    name = f"copy_{uuid4().hex}"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    with psycopg.connect(postgres.url().replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return postgres.url(name)


@pytest.fixture
def new_installation(
    tmp_path: Path, postgres: PostgresServer, rabbitmq: StrictRabbitmq, migrated: tuple[str, str]
) -> Iterator[NewInstallation]:
    """Give a function that makes an installation over the shared servers; its parts are not started yet."""
    made: list[FaultInstallation] = []
    template, token = migrated

    def make(**options: Any) -> FaultInstallation:
        directory = tmp_path / f"installation{len(made)}"
        directory.mkdir()
        given = {
            "database_url": copy_of(postgres, template),
            "broker_url": rabbitmq.url,
            "token": token,
            **options,
        }
        made.append(FaultInstallation(directory, **given))
        return made[-1]

    yield make
    for installation in made:
        installation.end()
