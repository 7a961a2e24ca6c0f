"""What makes pools of each type work; `base` says how."""
