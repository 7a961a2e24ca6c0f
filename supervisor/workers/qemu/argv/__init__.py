"""Plans how QEMU is started: a completed domain becomes a command line.

Owns: the order of all options, and one module for each area; `launch.plan_launch` is the entry.
May touch: values only. Nothing here opens, creates, asks or waits.
May not touch: processes, files, the bus.

The options and their order are those of libvirt 9.0 with QEMU 7.2 (`tests/unit/argv` compares).
"""
