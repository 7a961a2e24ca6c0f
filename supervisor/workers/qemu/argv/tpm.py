"""TPMs: an emulator's socket, or the host's own chip.

Owns: -tpmdev and its device.
May touch: values only; swtpm is the worker's.
"""

from __future__ import annotations

from conf.errors import ConfError
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
            raise ConfError(
                "config_unsupported", f"TPM backend '{tpm.backend.type}' is not supported"
            )
        yield device(
            {
                "driver": tpm.model or "tpm-tis",
                "tpmdev": f"tpm-{alias}",
                "id": alias,
            }
        )
