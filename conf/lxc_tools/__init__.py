"""LXC's own configuration files, read as documents of containers."""

from conf.lxc_tools.document import document_of

__all__ = ["document_of"]
