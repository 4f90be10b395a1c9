"""Receive events from Prestager by webhook, verify them, and print each once, one JSON object a line.

Usage: WEBHOOK_SECRET=whsec_... verify_webhook.py PORT
"""  # noqa: INP001 - a program of its own

import base64
import hmac
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
# Ids that came already; whoever must not act twice keeps them longer than this process lives.
seen = set()


def is_genuine(headers, body):  # noqa: ANN001, ANN201, D103
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "0")
    # Of the bytes as they came: JSON that was read and written again is another text.
    digest = hmac.digest(KEY, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    expected = "v1," + base64.b64encode(digest).decode()
    is_fresh = timestamp.isdigit() and abs(time.time() - int(timestamp)) < 300  # noqa: PLR2004 - five minutes
    # There are two signatures for a day after the secret was changed.
    return is_fresh and any(
        hmac.compare_digest(expected.encode(), one.encode()) for one in headers.get("webhook-signature", "").split(" ")
    )


class Receiver(BaseHTTPRequestHandler):  # noqa: D101
    def do_POST(self):  # noqa: ANN201, D102
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not is_genuine(self.headers, body):
            self.send_error(401)
            return
        if self.headers["webhook-id"] not in seen:
            seen.add(self.headers["webhook-id"])
            sys.stdout.write(body.decode() + "\n")
            sys.stdout.flush()
        self.send_response(204)
        self.end_headers()


server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
sys.stderr.write(f"listening on port {server.server_port}\n")
server.serve_forever()
