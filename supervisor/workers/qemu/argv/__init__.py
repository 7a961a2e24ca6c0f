"""Plans how QEMU is started: a domain becomes a command line."""
