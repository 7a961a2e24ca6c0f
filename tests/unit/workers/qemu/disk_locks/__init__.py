"""Tests of `supervisor.workers.qemu.block`."""
