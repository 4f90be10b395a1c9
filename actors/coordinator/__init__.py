"""The coordinator: command handlers, planning of the active strategy, expiry of leases."""
