"""The pure core: states, machines, stages, eligibility, plan. No I/O, no clock; time comes in as an argument."""
