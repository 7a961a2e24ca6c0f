"""The kernel's side of networking: rtnetlink, taps, sysctl, tc."""
