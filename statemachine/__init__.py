"""The pure core: states, phases, machines, eligibility and plan, without I/O; time is an argument."""
