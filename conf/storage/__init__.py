"""Storage pools and volumes: models of the documents, and what is refused. Pure."""
