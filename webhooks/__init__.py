"""Delivery of events to webhooks: signing, retries, address policy."""
