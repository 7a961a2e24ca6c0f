"""The process of storage pools and volumes."""
