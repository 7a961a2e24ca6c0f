"""The daemon: the root supervisor, its services and its workers; see docs/architecture.md."""
