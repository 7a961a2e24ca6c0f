"""Tests of `supervisor.workers.qemu.hotplug`."""
