"""The worker: claimed runs, prechecks, leases, results."""
