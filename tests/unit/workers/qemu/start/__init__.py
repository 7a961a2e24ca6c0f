"""Tests of `supervisor.workers.qemu.start`."""
