"""RabbitMQ as transport: topology, publisher, Dramatiq broker and consumers, commands in CloudEvents."""
