#!/bin/sh
# As the official image does it: what root starts goes on as the broker's user.
set -eu
if [ "$(id -u)" = 0 ]; then
    chown -R rabbitmq:rabbitmq /var/lib/rabbitmq
    exec setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups "$@"
fi
exec "$@"
