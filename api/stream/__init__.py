"""Events as they happen, for anybody who listens over HTTP."""
