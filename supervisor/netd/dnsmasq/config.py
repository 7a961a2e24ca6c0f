"""dnsmasq's configuration of a network: main file, DHCP hosts, DNS names. Pure.

Owns: the text of those three files. May not touch: files, processes.
Source: dnsmasq(8); libvirt 9.0's behaviour, option by option (formatnetwork, "Addressing").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Final

from conf.network import DhcpHost, Dns, Ip, LeaseTime, Network
from supervisor.netd.dnsmasq.process import DnsmasqPaths

HEADER: Final = (
    "# Made by the virtualization daemon for network '{name}', which overwrites changes made\n"
    "# here. Change the network with: virsh net-edit {name}\n"
)
UNITS: Final = {"seconds": "s", "minutes": "m", "hours": "h"}
MAX_LEASES: Final = 16 * 1024 * 1024  # dnsmasq takes no more; IPv6 ranges can be larger by far


@dataclass(frozen=True, slots=True)
class DnsmasqConfig:
    """The files that the dnsmasq of one network reads."""

    network: str
    paths: DnsmasqPaths
    config: str
    hosts: str  # dhcp-hostsfile
    names: str  # addn-hosts


def plan_config(network: Network, paths: DnsmasqPaths, *, user: str) -> DnsmasqConfig | None:
    """Write the configuration of a network's dnsmasq; None: the network needs none.

    Args:
        network: the network, with its bridge's name.
        paths: where the files will be.
        user: that dnsmasq changes to; "": its own default.
    """
    if not needs_server(network):
        return None
    lines = ["strict-order", *_dns(network), *([f"user={user}"] if user else [])]
    lines += [f"pid-file={quoted(paths.pid)}", *_listening(network), *_records(network)]
    lines += [*_gateway(network), *_tftp(network), *_dhcp(network, paths)]
    lines += list(network.dnsmasq_options)
    header = HEADER.format(name=network.name.replace("\n", " "))
    return DnsmasqConfig(
        network=network.name,
        paths=paths,
        config=header + "".join(f"{line}\n" for line in lines),
        hosts="".join(f"{line}\n" for line in host_lines(network)),
        names="".join(f"{line}\n" for line in name_lines(network.dns)),
    )


def quoted(path: Path | str) -> str:
    """Format a path for dnsmasq.conf: a network's name, which is in paths, may have a `"`.

    Source: dnsmasq's option.c: within quotes a backslash precedes a quote or a backslash.
    """
    text = str(path)
    if '"' not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def needs_server(network: Network) -> bool:
    """Return whether a network has DHCP, DNS or TFTP, or an IPv6 prefix to advertise."""
    if not network.ips:
        return False
    return serves_dns(network) or any(
        ip.dhcp is not None or ip.tftp_root or ip.version == 6 for ip in network.ips
    )


def serves_dns(network: Network) -> bool:
    """Return whether the network's dnsmasq answers DNS queries."""
    return network.dns is None or network.dns.enable is not False


def _dns(network: Network) -> Iterator[str]:
    if not serves_dns(network):
        yield "port=0"
        return
    dns = network.dns or Dns()
    for forwarder in dns.forwarders:
        where = forwarder.address or "#"  # "#": the host's own servers
        yield f"server=/{forwarder.domain}/{where}" if forwarder.domain else f"server={where}"
    if any(forwarder.address and not forwarder.domain for forwarder in dns.forwarders):
        yield "no-resolv"
    if network.domain is not None and network.domain.name:
        if network.domain.local_only:
            yield f"local=/{network.domain.name}/"
        yield f"domain={network.domain.name}"
        yield "expand-hosts"
    for ip in network.ips:
        yield from _reverse(ip)
    if dns.forward_plain_names is False:
        yield "domain-needed"
        yield "local=//"


def _reverse(ip: Ip) -> Iterator[str]:
    """Do not forward PTR queries for the subnet (localPtr='yes')."""
    if not ip.local_ptr:
        return
    subnet = ip.network
    label = 8 if isinstance(subnet, IPv4Network) else 4  # bits of one label of the reverse name
    digits = (
        subnet.network_address.packed
        if isinstance(subnet, IPv4Network)
        else bytes.fromhex("".join(f"0{digit}" for digit in subnet.network_address.packed.hex()))
    )
    used = digits[: subnet.prefixlen // label]
    form = "{:d}" if isinstance(subnet, IPv4Network) else "{:x}"
    names = [form.format(digit) for digit in reversed(used)]
    zone = "in-addr.arpa" if isinstance(subnet, IPv4Network) else "ip6.arpa"
    yield f"local=/{'.'.join([*names, zone])}/"


def _listening(network: Network) -> Iterator[str]:
    assert network.bridge is not None, "only a network with a bridge has a server"
    yield "except-interface=lo"
    yield "bind-dynamic"
    yield f"interface={network.bridge.name}"


def _records(network: Network) -> Iterator[str]:
    if not serves_dns(network) or network.dns is None:
        return
    for txt in network.dns.txts:
        yield f"txt-record={txt.name},{txt.value}"
    for srv in network.dns.srvs:
        name = f"_{srv.service}._{srv.protocol}"
        if srv.domain:
            name += f".{srv.domain}"
        fields = [name]
        if srv.target and srv.target != ".":  # ".": there is no such service
            fields += [srv.target, str(srv.port or 1)]
            if srv.priority or srv.weight:
                fields += [str(srv.priority or 0), str(srv.weight or 0)]
        yield f"srv-host={','.join(fields)}"


def _gateway(network: Network) -> Iterator[str]:
    """Advertise no default route to guests of an isolated network, and forward no DNS query."""
    if network.forward is not None:
        return
    yield "dhcp-option=3"
    if serves_dns(network):
        yield "no-resolv"
    yield "ra-param=*,0,0"


def _tftp(network: Network) -> Iterator[str]:
    for ip in network.ips:
        if ip.tftp_root:
            yield "enable-tftp"
            yield f"tftp-root={quoted(ip.tftp_root)}"


def _dhcp(network: Network, paths: DnsmasqPaths) -> Iterator[str]:
    served = dhcp_subnets(network)
    for ip in served.values():
        yield from _subnet(ip)
    count = sum(range_size(ip) for ip in served.values())
    if count:
        yield f"dhcp-lease-max={min(count, MAX_LEASES)}"
    if served:
        yield f"dhcp-hostsfile={quoted(paths.hosts)}"
    if serves_dns(network):
        yield f"addn-hosts={quoted(paths.names)}"
    if network.mtu is not None and 4 in served:
        yield f"dhcp-option=option:mtu,{network.mtu}"
    yield from _announcements(network, has_dhcp6=6 in served)


def _subnet(ip: Ip) -> Iterator[str]:
    dhcp = ip.dhcp
    assert dhcp is not None, "`dhcp_subnets` returns subnets with DHCP"
    for span in dhcp.ranges:
        yield f"dhcp-range={span.start},{span.end},{_mask(ip)}{_lease(span.lease)}"
    if dhcp.ranges:
        if ip.version == 4:
            yield "dhcp-no-override"
            yield "dhcp-authoritative"
    elif dhcp.hosts:
        yield f"dhcp-range={ip.address},static" + (f",{_mask(ip)}" if ip.version == 6 else "")
    if dhcp.bootp_file:
        server = f",,{dhcp.bootp_server}" if dhcp.bootp_server else ""
        yield f"dhcp-boot={dhcp.bootp_file}{server}"


def range_size(ip: Ip) -> int:
    """Count the addresses in the DHCP ranges of a subnet."""
    spans = ip.dhcp.ranges if ip.dhcp is not None else []
    return sum(int(ip_address(span.end)) - int(ip_address(span.start)) + 1 for span in spans)


def _announcements(network: Network, *, has_dhcp6: bool) -> Iterator[str]:
    """Advertise IPv6 prefixes: guests configure themselves (SLAAC) or use DHCPv6."""
    six = [ip for ip in network.ips if ip.version == 6]
    if not six:
        return
    if has_dhcp6:
        yield "enable-ra"
        return
    for ip in six:
        yield f"dhcp-range={ip.address},ra-only"


def dhcp_subnets(network: Network) -> dict[int, Ip]:
    """Return the subnet of each family that has DHCP; libvirt allows one of each."""
    return {
        ip.version: ip
        for ip in network.ips
        if ip.dhcp is not None and (ip.dhcp.ranges or ip.dhcp.hosts)
    }


def _mask(ip: Ip) -> str:
    subnet = ip.network
    return str(subnet.prefixlen) if isinstance(subnet, IPv6Network) else str(subnet.netmask)


def _lease(lease: LeaseTime | None) -> str:
    if lease is None:
        return ""
    return ",infinite" if lease.expiry == 0 else f",{lease.expiry}{UNITS[lease.unit or 'minutes']}"


def host_lines(network: Network) -> Iterator[str]:
    """Format the DHCP reservations as lines of a dhcp-hostsfile."""
    for ip in dhcp_subnets(network).values():
        assert ip.dhcp is not None, "`dhcp_subnets` returns subnets with DHCP"
        for host in ip.dhcp.hosts:
            yield _host(host, ip.version) + _lease(host.lease)


def _host(host: DhcpHost, version: int) -> str:
    if version == 4:
        return ",".join(text for text in (host.mac, host.ip, host.name) if text)
    fields = [f"id:{host.id}" if host.id else "", host.name or "", f"[{host.ip}]"]
    return ",".join(text for text in fields if text)


def name_lines(dns: Dns | None) -> Iterator[str]:
    """Format <dns><host> as lines of an addn-hosts file, which has the form of /etc/hosts."""
    for host in dns.hosts if dns is not None else ():
        yield "\t".join([host.ip, *host.hostnames])
