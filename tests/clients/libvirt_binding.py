"""Debian's own libvirt binding, made importable from the virtual environment.

The binding is python3-libvirt's C module, which is no PyPI package here: it lies in the system
interpreter's folder, and that folder goes last so that nothing else is taken from it.
"""

from __future__ import annotations

import sys

sys.path.append("/usr/lib/python3/dist-packages")

import libvirt
import libvirt_lxc
import libvirt_qemu

libvirt.registerErrorHandler(lambda _context, _error: None, None)

__all__ = ["libvirt", "libvirt_lxc", "libvirt_qemu"]
