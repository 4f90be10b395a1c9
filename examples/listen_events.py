"""Print what happens in Prestager, one JSON object a line, until interrupted.

Usage: AMQP_URL=amqp://... listen_events.py [PATTERN ...]     such as: strategy.# step.*.failed
"""  # noqa: INP001 - a program of its own

import os
import sys

import pika

with pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])) as connection:
    channel = connection.channel()
    # A queue of our own that goes with us; whoever must miss nothing declares a durable one with a name.
    queue = channel.queue_declare("", exclusive=True).method.queue
    for pattern in sys.argv[1:] or ["#"]:
        channel.queue_bind(queue, "prestager.events", pattern)
    sys.stderr.write("listening\n")
    for _method, _properties, body in channel.consume(queue, auto_ack=True):
        sys.stdout.write(body.decode() + "\n")
        sys.stdout.flush()
