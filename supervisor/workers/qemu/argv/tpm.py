"""TPMs: an emulator's socket, or the host's own chip.

Owns: -tpmdev and its device. The socket of type='external' is somebody else's swtpm.
May touch: values only; swtpm is the worker's.
"""

from __future__ import annotations

from supervisor.workers.qemu.argv.launch_inputs import Context, Options, device
from supervisor.workers.qemu.argv.syntax import options_of


def tpms(context: Context) -> Options:
    """Build every <tpm>."""
    for tpm in context.domain.devices.tpms:
        alias = tpm.alias or ""
        if tpm.backend.type == "emulator":
            socket = context.inputs.tpm_sockets.get(alias, "")
            yield "-tpmdev", f"emulator,id=tpm-{alias},chardev=chrtpm"
            yield "-chardev", options_of(("socket",), {"id": "chrtpm", "path": socket})
        elif tpm.backend.type == "passthrough":
            path = tpm.backend.path or "/dev/tpm0"
            cancel = f"/sys/class/tpm/{path.removeprefix('/dev/')}/device/cancel"
            members = {"id": f"tpm-{alias}", "path": path, "cancel-path": cancel}
            yield "-tpmdev", options_of(("passthrough",), members)
        else:
            path = tpm.backend.source_path or ""
            yield "-chardev", options_of(("socket",), {"id": "chrtpm", "path": path})
            yield "-tpmdev", f"emulator,id=tpm-{alias},chardev=chrtpm"
        yield device(
            {
                "driver": tpm.model or "tpm-tis",
                "tpmdev": f"tpm-{alias}",
                "id": alias,
            }
        )
