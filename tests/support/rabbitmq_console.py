"""Asks a RabbitMQ node by Erlang expressions: one process for many questions.

Each start of rabbitmqctl costs a second of one core.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Mapping
from typing import Any, Final

_PROGRAM: Final = """
Read = fun(Line) ->
    {ok, Tokens, _} = erl_scan:string(Line),
    {ok, Expressions} = erl_parse:parse_exprs(Tokens),
    Expressions
end,
Loop = fun Again() ->
    case io:get_line("") of
        Line when is_list(Line) ->
            case catch rpc:call('NODE', erl_eval, exprs, [Read(Line), []]) of
                {value, Text, _} when is_binary(Text) -> io:format("ok ~ts~n", [Text]);
                {value, Value, _} -> io:format("ok ~0tp~n", [Value]);
                Bad -> io:format("bad ~0tp~n", [Bad])
            end,
            Again();
        _ -> halt()
    end
end,
Loop().
"""
_QUEUES: Final = (
    "rabbit_json:encode([maps:from_list([{name, element(4, proplists:get_value(name, Q))},"
    " {arguments, maps:from_list([{K, V} || {K, _, V} <- proplists:get_value(arguments, Q)])} |"
    " proplists:delete(name, proplists:delete(arguments, Q))])"
    " || Q <- rabbit_amqqueue:info_all(<<VHOST>>,"
    " [name, durable, messages_ready, messages_unacknowledged, consumers, arguments])])."
)


class RabbitmqConsole:
    """One Erlang process beside a node; ends with the process of the test.

    Args:
        node: Erlang name of the node, which may be down meanwhile.
        environment: With the node's cookie, port mapper and network interface.

    """

    def __init__(self, node: str, options: str, environment: Mapping[str, str]) -> None:
        name = f"console-{secrets.token_hex(4)}@localhost"
        self._process = subprocess.Popen(
            ["erl", "-noshell", "-hidden", "-sname", name, *options.split(), "-eval", _PROGRAM.replace("NODE", node)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(environment),
            start_new_session=True,
        )

    def evaluate(self, expressions: str) -> str:
        """Return the value of expressions on the node; a binary as it is, anything else as Erlang writes it.

        Raises:
            AssertionError: They failed, or the node is down.

        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(expressions.split()) + "\n")
        self._process.stdin.flush()
        outcome, _, value = self._process.stdout.readline().rstrip("\n").partition(" ")
        assert outcome == "ok", f"{expressions}: {value}"
        return value

    def queues(self, vhost: str) -> list[dict[str, Any]]:
        """Return name, durability, counts and arguments of every queue of a virtual host."""
        found: list[dict[str, Any]] = json.loads(self.evaluate(_QUEUES.replace("VHOST", f'"{vhost}"')))
        return found

    def add_vhost(self, vhost: str, user: str) -> None:
        """Make a virtual host in which the user may do everything."""
        self.evaluate(f'ok = rabbit_vhost:add(<<"{vhost}">>, <<"tests">>).')
        self.permit(vhost, user, ".*", ".*", ".*")

    def delete_vhost(self, vhost: str) -> None:
        """Take a virtual host away with its queues, each of which costs the node work as long as it is there."""
        self.evaluate(f'ok = rabbit_vhost:delete(<<"{vhost}">>, <<"tests">>).')

    def add_user(self, user: str, password: str) -> None:
        """Make a user, who may do nothing yet."""
        self.evaluate(f'ok = rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"{password}">>, <<"tests">>).')

    def permit(self, vhost: str, user: str, configure: str, write: str, read: str) -> None:
        """Set what a user may do in a virtual host: patterns, none of which has a quote."""
        given = ", ".join(f'<<"{text}">>' for text in (user, vhost, configure, write, read, "tests"))
        escaped = given.replace("\\", "\\\\")
        self.evaluate(f"ok = rabbit_auth_backend_internal:set_permissions({escaped}).")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
