"""Clients' calls at the service that owns them: dispatcher, error and event codecs."""
