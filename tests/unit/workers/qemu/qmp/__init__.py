"""Tests of `supervisor.workers.qemu.qmp`."""
