"""virStream: data between clients and the services' descriptors."""
