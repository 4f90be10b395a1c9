"""The AsyncAPI document: commands and events over RabbitMQ, the stream, webhooks."""
