"""Words of domains' documents that plans do not look at, and why; documents with those that
the recorded ones lack.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from conf.domain.devices.hostdev import CapabilitySource
from conf.domain.lxc.model import (
    Capabilities,
    IdMap,
    IdRange,
    InitVariable,
    LxcNamespace,
    SharedNamespace,
)

#: Fields that mean nothing by themselves, wherever they stand.
EVERYWHERE: Final = frozenset(
    {
        "unit", "size_unit", "line_unit",  # amounts are in KiB once they have been read
        "boot_order",  # of devices that cannot be booted from, which the reader refuses
    }
)  # fmt: skip

BY_WORKER: Final = {
    "FilesystemBinary": ("path", "xattr", "cache", "sandbox", "lock_posix", "lock_flock",
                         "thread_pool"),
    "TpmBackend": ("version", "persistent_state", "encryption", "source_type", "source_mode"),
    "HostdevSource": ("startup_policy", "vendor", "product"),
    "Domain": ("perf", "current_memory", "on_poweroff", "on_reboot", "on_crash"),
    "BlkioDevice": ("path", "weight", "read_iops_sec", "write_iops_sec", "read_bytes_sec",
                    "write_bytes_sec"),
    "Cputune": ("cachetunes", "memorytunes", "emulatorsched", "vcpuscheds",
                "iothreadscheds"),
    "CacheTune": ("vcpus", "caches", "monitors"),
    "CacheShare": ("id", "level", "type", "size"),
    "CacheMonitor": ("level", "vcpus"),
    "MemoryTune": ("vcpus", "nodes", "monitors"),
    "MemoryShare": ("id", "bandwidth"),
    "EmulatorSched": ("scheduler", "priority"),
    "IoThreadSched": ("iothreads", "scheduler", "priority"),
    "VcpuSched": ("vcpus", "scheduler", "priority"),
    "Vcpu": ("placement",),
    "NumaMemory": ("placement",),
    "Memtune": ("min_guarantee",),  # refused in a definition
    "PerfEvent": ("name", "enabled"),
    "Seclabel": ("relabel", "label", "imagelabel", "baselabel"),
    "SourceLabel": ("model", "labelskip", "label"),
    "Loader": ("stateless",),
    "Source": ("startup_policy", "volume", "mode"),
    "Nvram": ("template",),
    "Memballoon": ("stats_period",),
    "Capability": ("capability",), "QemuCapabilities": ("added", "removed"),  # of the facts
    "Graphics": ("passwd_valid_to", "connected", "autoport", "listen", "socket"),
    "OsType": ("name",),
}  # fmt: skip

BY_NETD: Final = {
    "Interface": ("bandwidth", "coalesce", "script", "down_script", "filterref", "vlan",
                  "virtualport", "port_isolated", "target_dev", "managed_target", "backend_tap",
                  "backend_vhost", "link_state", "trust_guest_rx_filters"),
    "Bandwidth": ("inbound", "outbound"),
    "Rate": ("average", "peak", "burst", "floor"),
    "Coalesce": ("rx_max",),
    "FilterRef": ("filter", "parameters"),
    "FilterParameter": ("name", "value"),
    "InterfaceDriver": ("name",),
    "InterfaceSource": ("network", "portgroup", "portid", "bridge", "dev"),
    "VirtualPort": ("type", "managerid", "typeid", "typeidversion", "instanceid", "interfaceid",
                    "profileid"),
    "Vlan": ("trunk", "tags"),
    "VlanTag": ("id", "native_mode"),
}  # fmt: skip

#: Only notes, or what a running guest says of itself.
NOTES: Final = {
    "Domain": ("id", "title", "description", "metadata"),
    "CharDevice": ("tty", "target_state"),
    "DiskTarget": ("tray",),
    "Disk": ("snapshot", "mirror"),  # what snapshots do with it; where a block job copies it to
    "Mirror": ("type", "file", "old_format", "job", "ready", "format", "source", "backing_store"),
    # passt's; no type is accepted
    "Interface": ("backend_type", "backend_log", "port_forwards"),
    "Graphics": ("websocket_generated",),
    "MemoryTarget": ("current_amount",),
    "VcpuState": ("order",),  # in which they are plugged before the guest runs
    "Vsock": ("cid_auto",),  # the number chosen stands beside it
    "Panic": ("alias",),  # the device takes no id in stock's command line either
}

#: The element is refused as a whole, or its kind is: no part of it is looked at.
REFUSED: Final = {
    "CcwAddress": ("type", "cssid", "ssid", "devno"), "Zpci": ("uid", "fid"),
    "Controller": ("max_grant_frames", "max_event_channels"),
    "CharEnd": ("master", "slave"),
    "Keywrap": ("ciphers",), "Cipher": ("name", "state"),
    "LaunchSecurity": ("type", "kernel_hashes", "cbitpos", "reduced_phys_bits", "policy",
                       "dh_cert", "session"),
    "Lease": ("lockspace", "key", "target_path", "target_offset"),
    "FilesystemSource": ("file", "dev", "name", "pool", "volume", "units"),
    "Graphics": ("replace_user", "multi_user"), "Listen": ("network",),
    "HostAddress": ("port", "target", "unit"),
    "HostdevSource": ("wwpn", "adapter", "block", "char", "interface"),
    "Hostdev": ("managed",),  # passthrough.py: who binds it to vfio-pci
    "Interface": ("managed",), "InterfaceSource": ("name", "managed", "host_address"),
    "PortForward": ("proto", "address", "dev", "ranges"),
    "PortRange": ("start", "end", "to", "exclude"),
    "NvramDevice": ("alias", "address"), "PerfEvent": ("name", "enabled"),
    "Resource": ("partition", "fibre_channel_app"),
    "FirmwareFeature": ("enabled", "name"), "Os": ("firmware", "firmware_features"),
    "PciAddress": ("zpci",), "Route": ("family", "address", "netmask", "prefix", "gateway",
                                       "metric"),
    "VideoModel": ("rendernode",), "VideoDriver": ("name",),
    "Source": ("managed", "namespace", "pci_address"),  # of a host's NVMe device
    "Slice": ("type", "offset", "size"), "Teaming": ("type", "persistent"),
    "Tpm": ("address",),
}  # fmt: skip

#: There is one value, or stock's QEMU driver passes over the word as well.
IDLE: Final = {
    "Catchup": ("threshold", "slew", "limit"), "Timer": ("mode", "catchup"),
    "ControllerTarget": ("index",),  # of other architectures
    "Cpu": ("vendor",), "CpuModelName": ("fallback",),  # what a model is called decides
    "DiskDriver": ("name",), "VirtioDriver": ("name",), "Encryption": ("engine",),
    "Domain": ("on_lockfailure",),  # for sanlock alone
    "Features": ("pae", "hap", "viridian", "privnet", "msrs_unknown"),
    "Hub": ("type",), "Mac": ("type", "check"), "Os": ("slic_type",),
    "Redirdev": ("bus",), "Reservations": ("source_type", "source_mode"),
    "VideoDriver": ("vgaconf",), "VideoModel": ("accel2d",),
    **{f"{kind}Address": ("type",) for kind in ("Drive", "Plain", "Spapr", "Usb",
                                                "VirtioSerial", "Isa", "Pci", "Dimm", "Ccid")},
}  # fmt: skip

#: Looked at where /dev/kvm is, or through a class that they share with serial lines.
UNSEEN: Final = {
    "Kvm": ("dirty_ring",), "DirtyRing": ("state", "size"),
    "Redirdev": ("log_append",), "RngBackend": ("log_append",), "Smartcard": ("log_append",),
}  # fmt: skip

#: Of containers alone: the elements that they are in are refused, or tell what was given.
CONTAINERS: Final = {
    "Interface": ("guest_actual",), "SpaceLimit": ("amount",),
    "Hostdev": ("capability_source",),
    **{
        kind.__name__: tuple(field.name for field in fields(kind))
        for kind in (CapabilitySource, Capabilities, IdMap, IdRange, InitVariable, LxcNamespace,
                     SharedNamespace)
    },
}  # fmt: skip

REASONS: Final = (BY_WORKER, BY_NETD, NOTES, REFUSED, IDLE, UNSEEN, CONTAINERS)
ELSEWHERE: Final = {
    kind: tuple(name for reason in REASONS for name in reason.get(kind, ()))
    for kind in {kind for reason in REASONS for kind in reason}
}

EMULATOR: Final = "<emulator>/usr/bin/qemu-system-x86_64</emulator>"


VARIABLES: Final = (
    "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
    "<qemu:env name='WORD' value='yes'/></qemu:commandline>"
    "<qemu:deprecation xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' behavior='omit'/>"
)
#: What the documents' secrets are.
SECRETS: Final = {"iscsi words": b"open"}


def _document(devices: str, *, machine: str = "pc", top: str = "") -> str:
    root = "pcie-root" if machine == "q35" else "pci-root"
    return (
        "<domain type='qemu'><name>words</name><maxMemory slots='4' unit='MiB'>512</maxMemory>"
        "<memory unit='MiB'>64</memory><vcpu>2</vcpu>"
        f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>{top}"
        f"<devices>{EMULATOR}<controller type='pci' index='0' model='{root}'/>{devices}</devices>"
        f"{VARIABLES}</domain>"
    )


VCPUS: Final = (
    "<vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/><vcpu id='1' enabled='yes' "
    "hotpluggable='yes' order='2'/></vcpus>"
)
NODES: Final = (
    "<cpu><numa><cell id='0' cpus='0' memory='32' unit='MiB'><distances>"
    "<sibling id='0' value='10'/><sibling id='1' value='20'/></distances></cell>"
    "<cell id='1' cpus='1' memory='32' unit='MiB'/></numa></cpu>"
)
WORDS: Final = (
    "<features><acpi/><kvm><pv-ipi state='off'/></kvm><hyperv><spinlocks state='on' "
    "retries='8191'/><stimer state='on'><direct state='on'/></stimer>"
    "<vendor_id state='on' value='us'/></hyperv></features>"
    "<cpu mode='custom' match='exact'><model fallback='allow' vendor_id='GenuineIntel'>qemu64"
    "</model>" + NODES.removeprefix("<cpu>") + "<clock offset='absolute' start='1700000000'/>"
)
OWN: Final = (
    _document(
        "<memballoon model='virtio'/><tpm model='tpm-tis'><backend type='external'>"
        "<source type='unix' path='/run/tpm'/></backend></tpm>"
    ).replace(
        "</domain>",
        "<q:override xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<q:device alias='balloon0'><q:frontend><q:property name='ats' type='bool' value='true'/>"
        "</q:frontend></q:device></q:override></domain>",
    ),
    _document(
        "<disk type='file' device='disk'><source file='/images/a'/><geometry cyls='10' heads='16' "
        "secs='63' trans='lba'/><blockio logical_block_size='512' discard_granularity='4096'/>"
        "<target dev='vda' bus='virtio'/><iotune><total_bytes_sec>1000</total_bytes_sec></iotune>"
        "</disk>"
        "<disk type='network' device='disk'>"
        "<source protocol='iscsi' name='iqn.2026-01.test:a/1'>"
        "<host name='images.test' port='3260'/><auth username='me'><secret type='iscsi' "
        "usage='words'/></auth></source><target dev='vdb' bus='virtio'/></disk>"
        "<disk type='network' device='disk'><source protocol='rbd' name='pool/image'>"
        "<host name='images.test'/><snapshot name='before'/><config file='/etc/ceph.conf'/>"
        "</source><target dev='vdc' bus='virtio'/></disk>"
        "<serial type='null'><target port='1'/><address type='isa' iobase='0x2f8' irq='3'/>"
        "</serial>"
        "<interface type='udp'><mac address='52:54:00:00:00:01'/><source address='127.0.0.1' "
        "port='5001'><local address='127.0.0.1' port='5002'/></source><model type='virtio'/>"
        "<acpi index='3'/></interface>"
        "<interface type='vhostuser'><mac address='52:54:00:00:00:02'/><source type='unix' "
        "path='/run/switch' mode='client'><reconnect enabled='yes' timeout='5'/></source>"
        "<model type='virtio'/></interface>"
        "<graphics type='vnc' port='5901' keymap='de' powerControl='yes'/>"
        "<shmem name='ours'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>"
        "<shmem name='theirs' role='peer'><model type='ivshmem-doorbell'/>"
        "<server path='/run/bell'/><msi vectors='4' ioeventfd='on'/></shmem>"
        "<memory model='nvdimm'><source><path>/images/nv</path><alignsize unit='MiB'>2</alignsize>"
        "<pmem/></source><target><size unit='MiB'>16</size><node>0</node>"
        "<label><size unit='KiB'>128</size></label><readonly/></target></memory>",
        top=WORDS,
    ),
    _document(
        "<graphics type='spice' port='5902'><channel name='main' mode='insecure'/></graphics>"
        "<video><model type='virtio' heads='1'><acceleration accel3d='yes' "
        "rendernode='/dev/dri/renderD128'/><resolution x='800' y='600'/></model></video>"
        "<iommu model='virtio'/>",
        machine="q35",
        top=VCPUS + "<features><acpi/></features>",
    ),
)
