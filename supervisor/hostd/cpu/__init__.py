"""CPU models, features, comparison and baseline."""
