"""Every backend that is a character device in the host writes through descriptors."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from supervisor.workers.qemu.outputs import output_sources

TCP = "<source mode='connect' host='h' service='1'/>"


@pytest.mark.parametrize(
    ("device", "found"),
    [
        ("<serial type='pty'/>", True),
        ("<console type='pty'><target type='virtio'/></console>", True),
        ("<channel type='pty'><target type='virtio' name='n'/></channel>", True),
        (f"<redirdev bus='usb' type='tcp'>{TCP}<protocol type='raw'/></redirdev>", True),
        (f"<smartcard mode='passthrough' type='tcp'>{TCP}</smartcard>", True),
        ("<smartcard mode='host'/>", False),
        (f"<rng model='virtio'><backend model='egd' type='tcp'>{TCP}</backend></rng>", True),
        ("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>", False),
    ],
)
def test_the_log_of_a_device_is_opened_for_qemu(device: str, *, found: bool) -> None:
    logged = device
    if found:
        end = device.rindex("</" if "</" in device else "/>")
        name = device[1:].split(" ")[0]
        body = "<log file='/log'/>"
        if name == "rng":
            logged = device.replace("</backend>", f"{body}</backend>")
        elif "</" in device:
            logged = f"{device[:end]}{body}{device[end:]}"
        else:
            logged = f"{device[:end]}>{body}</{name}>"
    domain = parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory><os>"
        f"<type arch='x86_64' machine='q35'>hvm</type></os><devices>{logged}</devices></domain>"
    )
    assert [source.log_file for _, source in output_sources(domain)] == (["/log"] if found else [])
