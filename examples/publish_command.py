"""Send Prestager a command over RabbitMQ and print the answer.

Usage: AMQP_URL=amqp://... publish_command.py SOURCE ID TYPE[/SUBJECT] [REQUEST_JSON] [SEALED_PASSWORD]
The same SOURCE and ID of one user again are the same command: after a crash or a timeout run it again as it was.
SEALED_PASSWORD comes from `prestager seal` with the same source, id and user.
"""  # noqa: INP001 - a program of its own

import json
import os
import sys
from typing import Any

import pika

TYPE_PREFIX = "io.prestager.command."
WAIT_S = 30
NO_ANSWER = b'{"status": 504, "detail": "no answer in time; the same command again gets it"}'

source, event_id, target, *rest = sys.argv[1:]
kind, _, subject = target.partition("/")
event: dict[str, Any] = {"specversion": "1.0", "id": event_id, "source": source, "type": TYPE_PREFIX + kind}
event |= {"subject": subject} if subject else {}
event["data"] = {"request": json.loads(rest[0] if rest else "{}")}
event["data"] |= {"sealed_password": rest[1]} if rest[1:] else {}

answers: list[bytes] = []
parameters = pika.URLParameters(os.environ["AMQP_URL"])
with pika.BlockingConnection(parameters) as connection:
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_consume("amq.rabbitmq.reply-to", lambda *delivery: answers.append(delivery[3]), auto_ack=True)
    properties = pika.BasicProperties(
        content_type="application/cloudevents+json",
        delivery_mode=pika.DeliveryMode.Persistent,
        message_id=event_id,
        reply_to="amq.rabbitmq.reply-to",
        correlation_id=event_id,
        # RabbitMQ vouches for it, so that nobody else can use this user's SOURCE and ID.
        user_id=parameters.credentials.username,
        # What nobody took by then never runs.
        expiration=str(WAIT_S * 1000),
    )
    channel.basic_publish("prestager.commands", kind, json.dumps(event).encode(), properties, mandatory=True)
    connection.call_later(WAIT_S, lambda: answers.append(NO_ANSWER))
    while not answers:
        connection.process_data_events(time_limit=1)
sys.stdout.write(answers[0].decode() + "\n")
sys.exit(json.loads(answers[0])["status"] != 200)  # noqa: PLR2004 - the only success
