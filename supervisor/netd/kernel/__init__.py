"""The kernel's networking interfaces: rtnetlink, tun/tap, sysctl, tc."""
