"""What a process tells about itself: counters and gauges for Prometheus, and whether it lives and is ready."""
