"""The domain XML: models, defaults, address assignment."""
