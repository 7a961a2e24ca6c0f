"""Libraries of a process: files, subprocesses, logging, paths, restart policy. No service."""
