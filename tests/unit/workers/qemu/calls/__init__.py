"""Tests of `supervisor.workers.qemu.agent`."""
