"""What only LXC domains have in their XML: models, values, defaults, validation."""
