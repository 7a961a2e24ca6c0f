"""The service that authenticates clients: SASL and polkit."""
