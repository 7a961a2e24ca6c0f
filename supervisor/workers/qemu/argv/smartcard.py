"""Smartcards (-device ccid-card-…).

Owns: their -device options.
May touch: values only.
"""

from __future__ import annotations

from typing import Final

from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.chardev import chardev
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, device

DATABASE: Final = "/etc/pki/nssdb"


def smartcards(context: Context) -> Options:
    """Build every <smartcard>."""
    for card in context.domain.devices.smartcards:
        alias = card.alias or ""
        where = placed(context, card.address)
        match card.mode:
            case "host":
                yield device(
                    {
                        "driver": "ccid-card-emulated",
                        "backend": "nss-emulated",
                        "id": alias,
                        **where,
                    }
                )
            case "host-certificates":
                names = {f"cert{n}": name for n, name in enumerate(card.certificates, start=1)}
                yield device(
                    {
                        "driver": "ccid-card-emulated",
                        "backend": "certificates",
                        **names,
                        "db": card.database or DATABASE,
                        "id": alias,
                        **where,
                    }
                )
            case "passthrough":
                yield from chardev(context, alias, card, name="smartcard")
                yield device(
                    {
                        "driver": "ccid-card-passthru",
                        "chardev": f"char{alias}",
                        "id": alias,
                        **where,
                    }
                )
