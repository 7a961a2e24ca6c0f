"""Storage backends, one for each pool type; `base` has their interface."""
