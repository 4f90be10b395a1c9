"""Commands of foreign publishers: answers, rights, order and repeats."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import monotonic
from typing import Any

import pika
import pytest
from pika.exceptions import AMQPError

from broker.amqp.dead_letters import PUBLISHED_BY, REASON, open_dead_letters
from broker.amqp.publisher import Publisher
from broker.amqp.topology import QUEUES, dead_letters_of
from db.schema import audit, commands
from db.schema import subcloud_groups as groups
from messages.commands import Command, CommandType
from messages.queues import COMMANDS, COORDINATOR
from service.roles import ProcessRole
from tests.support.installation import StartedInstallation
from tests.support.virtual_host import Requester, VirtualHost, command_event
from tests.support.waiting import PATIENCE_S, wait_for

GROUP = {"name": "edge", "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": 2}

COORDINATOR_ONLY = frozenset({ProcessRole.COORDINATOR})


class TestIngress:
    def test_a_bad_command_is_answered_and_kept(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """A message that is no command is answered 400 with the reason and kept with it; the next one is served."""
        start(roles=COORDINATOR_ONLY)
        requester.send(b"{}", mark="bad")
        requester.send(command_event("group.create", **GROUP), mark="good")
        answers = dict(requester.answer() for _ in range(2))
        ((properties, body),) = host.dead_letters(COMMANDS, 1)

        assert {"bad": 400, "good": 200} == {mark: answer.status for mark, answer in answers.items()}
        assert answers["bad"].detail == properties.headers[REASON]
        assert "specversion: Field required" in answers["bad"].detail
        assert b"{}" == body

    def test_nobody_speaks_for_the_api(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """The source of our own API is believed only where RabbitMQ vouches that our own user published."""
        installation = start(roles=COORDINATOR_ONLY)
        own = installation.process.messaging.source
        forged = requester.ask(command_event("group.create", source=own, **GROUP))
        marked = requester.ask(
            command_event("group.create", source=own, **GROUP), headers={PUBLISHED_BY: host.server.user}
        )
        vouched = command_event("group.create", source=own, **GROUP)
        with host.channel() as channel:
            properties = pika.BasicProperties(user_id=host.server.user)
            channel.basic_publish("prestager.commands", "group.create", json.dumps(vouched).encode(), properties)

        assert [400, 400] == [forged.status, marked.status]
        assert "own API" in forged.detail
        wait_for(lambda: installation.rows(groups, name="edge"))
        assert 2 == len(host.dead_letters(COMMANDS, 2))

    def test_the_routing_key_is_that_of_the_type(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """A command under another's routing key is refused, so topic permissions say which commands may be sent."""
        installation = start(roles=COORDINATOR_ONLY)
        requester.send(command_event("group.create", **GROUP), key="strategy.apply")
        _, answer = requester.answer()

        assert (400, []) == (answer.status, installation.rows(groups, name="edge"))
        assert "routing key" in answer.detail
        assert 1 == len(host.dead_letters(COMMANDS, 1))

    @pytest.mark.parametrize("kind", ["group.create", "no.command"])
    @pytest.mark.parametrize(
        "queue",
        [
            COMMANDS,
            COORDINATOR,
            "prestager.subclouds.XQ",
            "orders",
            "prestager.replies.somebody.q",
            "prestager.replies.USER.b.q",
            "prestager.replies.USERx.q",
            "prestager.replies..q",
        ],
    )
    def test_answers_go_to_the_publishers_own_queue_only(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester, queue: str, kind: str
    ) -> None:
        """A command whose answer would go to a queue of another is a dead letter, and nothing is sent there."""
        installation = start(roles=COORDINATOR_ONLY)
        queue = queue.replace("USER", requester.user)
        if queue not in {spec.name for spec in QUEUES}:
            requester.channel.queue_declare(queue)
        requester.send(command_event(kind, **GROUP), reply_to=queue)
        ((properties, _),) = host.dead_letters(COMMANDS, 1)

        assert "reply_to is none of yours: use amq.rabbitmq.reply-to" in properties.headers[REASON]
        assert [] == installation.rows(groups, name="edge")
        assert 200 == requester.ask(command_event("group.create", "2", **GROUP)).status
        assert 0 == host.count(queue)
        if queue not in {spec.name for spec in QUEUES}:
            requester.channel.queue_delete(queue)

    @pytest.mark.parametrize("user_id", [None, "other"])
    def test_an_answer_queue_needs_the_user(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester, user_id: str | None
    ) -> None:
        """An answer queue is the publisher's own only where RabbitMQ vouches for the user in its name."""
        start(roles=COORDINATOR_ONLY)
        if user_id is None:
            requester.send(command_event("group.create", **GROUP), user_id=None)
            assert 1 == len(host.dead_letters(COMMANDS, 1))
        else:
            with pytest.raises(AMQPError):
                requester.send(command_event("group.create", **GROUP), user_id=user_id)
        assert 0 == host.count(COMMANDS)

    def test_direct_reply_to(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """An answer goes by direct reply-to, whether or not RabbitMQ vouches for the user."""
        start(roles=COORDINATOR_ONLY)
        answers: list[tuple[str, int]] = []

        def take(*delivery: Any) -> None:
            answers.append((delivery[2].correlation_id, json.loads(delivery[3])["status"]))

        requester.channel.basic_consume("amq.rabbitmq.reply-to", take, auto_ack=True)
        for number, user_id in enumerate((requester.user, None)):
            event = command_event("group.create", **{**GROUP, "name": f"edge{number}"})
            requester.send(event, mark=str(number), reply_to="amq.rabbitmq.reply-to", user_id=user_id)
        end = monotonic() + PATIENCE_S
        while len(answers) < 2 and monotonic() < end:
            requester.channel.connection.process_data_events(time_limit=0.1)

        assert [("0", 200), ("1", 200)] == answers

    def test_publishing_users_never_meet(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """One source and id of two users, of no user, and of a caller over HTTP are commands of their own."""
        installation = start(roles=COORDINATOR_ONLY)
        other = Requester(host)
        # What a caller over HTTP would have as its command's id.
        caller = Command(id="ci/1", type=CommandType.GROUP_CREATE, data={**GROUP, "name": "http"}, requested_by="ci")
        statuses = [
            requester.ask(command_event("group.create", "1", "ci", **{**GROUP, "name": "mine"})).status,
            other.ask(command_event("group.create", "1", "ci", **{**GROUP, "name": "theirs"})).status,
            installation.execute(caller).status,
        ]
        requester.send(command_event("group.create", "1", "ci", **{**GROUP, "name": "any"}), user_id=None, reply=False)
        wait_for(lambda: installation.rows(groups, name="any"))
        other.close()

        assert [200, 200, 200] == statuses
        ids = {row["id"] for row in installation.rows(commands)}
        assert {f"amqp:{requester.user}/ci/1", f"amqp:{other.user}/ci/1", "amqp:/ci/1", "ci/1"} == ids

    def test_the_audit_has_the_publishing_user(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """The audit has the user that RabbitMQ vouched for beside the source that the publisher claims."""
        installation = start(roles=COORDINATOR_ONLY)
        requester.ask(command_event("group.create", source="admin", **GROUP))
        requester.send(command_event("group.delete", source="admin"), user_id=None, reply=False)
        installation.execute(Command(type=CommandType.GROUP_DELETE, subject="edge", requested_by="alice", origin="::1"))

        found = [(row["caller"], row["user_id"], row["origin"]) for row in installation.rows(audit)]
        assert [("admin", requester.user, ""), ("admin", None, ""), ("alice", None, "::1")] == found

    def test_a_put_back_command_is_the_same_command(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """A dead letter that is put back is the command of the user that published it, whatever it says itself."""
        lie = {PUBLISHED_BY: "somebody"}
        requester.send(command_event("group.create", **GROUP), reply=False, expiration="1", headers=lie)
        event = command_event("group.create", "2", **{**GROUP, "name": "far"})
        requester.send(event, reply=False, expiration="1", headers=lie, user_id=None)
        wait_for(lambda: host.count(dead_letters_of(COMMANDS)) == 2)
        publisher = Publisher(host.url(), "test")
        publisher.start()
        with open_dead_letters(host.url()) as dead_letters:
            for letter in dead_letters.first(COMMANDS, 2):
                dead_letters.replay(COMMANDS, letter.id, publisher)
        publisher.stop()
        installation = start(roles=COORDINATOR_ONLY)
        wait_for(lambda: len(installation.rows(commands)) == 2)

        assert {f"amqp:{requester.user}/%2Ftest/1", "amqp:/%2Ftest/2"} == {
            row["id"] for row in installation.rows(commands)
        }
        assert 200 == requester.ask(command_event("group.create", **GROUP)).status
        assert 2 == len(installation.rows(commands))

    def test_who_wants_no_answer_gets_none(
        self, host: VirtualHost, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """Without an address to answer to a bad message is kept and a good one carried out."""
        installation = start(roles=COORDINATOR_ONLY)
        requester.send(b"no", reply=False)
        requester.send(command_event("group.create", **GROUP), reply=False)

        wait_for(lambda: installation.rows(groups, name="edge"))
        assert 1 == len(host.dead_letters(COMMANDS, 1))

    @pytest.mark.parametrize(
        "address", ["prestager.replies.USER.nowhere", "amq.rabbitmq.reply-to.x", "prestager.replies.USER." + "x" * 220]
    )
    def test_an_address_that_leads_nowhere(
        self, start: Callable[..., StartedInstallation], requester: Requester, address: str
    ) -> None:
        """An answer that nobody can get harms nobody: the command is carried out and the next one answered."""
        installation = start(roles=COORDINATOR_ONLY)
        requester.send(command_event("group.create", **GROUP), reply_to=address.replace("USER", requester.user))

        assert 400 == requester.ask(command_event("group.create", "2", **GROUP)).status
        assert 1 == len(installation.rows(groups, name="edge"))

    def test_commands_are_carried_out_in_their_order(
        self, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """What one publisher sends without waiting for answers is carried out and answered one after another."""
        start(roles=COORDINATOR_ONLY)
        for place in range(0, 40, 2):
            requester.send(command_event("group.create", str(place), **GROUP), mark=str(place))
            requester.send(
                command_event("group.delete", str(place + 1)) | {"subject": GROUP["name"]}, mark=str(place + 1)
            )
        answers = [requester.answer() for _ in range(40)]

        assert [(str(place), 200) for place in range(40)] == [(mark, answer.status) for mark, answer in answers]

    def test_a_redelivered_command_gets_its_stored_answer(
        self, start: Callable[..., StartedInstallation], requester: Requester
    ) -> None:
        """The same source and id again is answered as the first time, though the state has changed since."""
        installation = start(roles=COORDINATOR_ONLY)
        first = requester.ask(command_event("group.create", **GROUP))
        group = str(first.body["id"])
        removal = command_event("group.delete", "2") | {"subject": group}
        requester.ask(removal)
        again = requester.ask(command_event("group.create", **GROUP))
        other_source = requester.ask(command_event("group.create", source="/other", **GROUP))

        assert (200, first) == (first.status, again)
        assert (200, True) == (other_source.status, other_source.body["id"] != first.body["id"])
        assert 3 == len(installation.rows(commands))
