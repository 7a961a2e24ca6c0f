"""A <video> of <driver name='vhostuser'> is refused, with libvirt's code where no program is."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.domain import parse_domain
from conf.errors import ConfError
from supervisor.workers.qemu.external.vhost_user_gpu import refuse

VIDEO = "<video><driver name='vhostuser'/><model type='virtio'/></video>"


def document(devices: str) -> str:
    """A small domain."""
    return (
        "<domain type='qemu'><name>g</name><memory>1024</memory><os><type>hvm</type></os>"
        f"<devices>{devices}</devices></domain>"
    )


@pytest.mark.parametrize(
    ("descriptor", "kind"),
    [("", "operation_failed"), ('{"type": "gpu", "binary": "/bin/gpu"}', "config_unsupported")],
)
def test_it_is_refused(tmp_path: Path, descriptor: str, kind: str) -> None:
    if descriptor:
        (tmp_path / "50-gpu.json").write_text(descriptor)
    with pytest.raises(ConfError) as refused:
        refuse(parse_domain(document(VIDEO)), [tmp_path])
    assert refused.value.kind == kind


def test_other_videos_are_none_of_its_concern(tmp_path: Path) -> None:
    refuse(parse_domain(document("<video><model type='virtio'/></video>")), [tmp_path])
