"""Tables, transactions, queries, migrations, sealed secrets: everything that is kept."""
