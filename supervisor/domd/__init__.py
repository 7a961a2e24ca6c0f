"""The domain registry: definitions, ids, autostart, jobs."""
