"""The host's own interfaces: listed, described, defined, brought up and down."""
