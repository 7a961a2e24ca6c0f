"""Benchmarks: ours beside a stock libvirtd in one run."""
