"""Events to webhooks: signed, tried again, written down."""
