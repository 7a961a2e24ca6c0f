"""The process tree: start-up, zygote, restart policies, switchboard, signals."""
