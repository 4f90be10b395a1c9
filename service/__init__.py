"""One process of an installation: settings, wiring, start and stop of its parts, checks at the start."""
