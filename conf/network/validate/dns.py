"""Validates <dns>. Pure."""

from __future__ import annotations

import re
from typing import Final

from conf.network.dns import Dns, DnsHost, Srv, Txt
from conf.network.validate.errors import dns_error, xml_error

SERVICE: Final = re.compile(r"[A-Za-z0-9_+/\-]+")
PROTOCOL: Final = re.compile(r"[A-Za-z0-9+/\-]+")
LARGEST: Final = 0xFFFF


def check_dns(name: str, dns: Dns | None) -> None:
    """Validate a <dns>; `name` is the network's.

    Raises:
        ConfError: "xml", "xml_detail".
    """
    if dns is None:
        return
    if dns.enable is False and (dns.forwarders or dns.txts or dns.srvs or dns.hosts):
        detail = f"Extra data in disabled network '{name}': its <dns> has records or forwarders"
        raise xml_error(detail)
    for forwarder in dns.forwarders:
        if forwarder.domain is None and forwarder.address is None:
            detail = "Invalid forwarder element, must contain at least one of addr or domain"
            raise xml_error(f"{detail} (network '{name}')")
    for txt in dns.txts:
        check_txt(name, txt)
    for srv in dns.srvs:
        check_srv(name, srv)
    for host in dns.hosts:
        check_names(name, host)


def check_txt(name: str, txt: Txt, *, partial: bool = False) -> None:
    """Validate a TXT record; `partial`: it only selects the record to delete.

    Raises:
        ConfError: "xml_detail".
    """
    where = f"of network {name}"
    if txt.name is None:
        raise dns_error(f"missing required name attribute in DNS TXT record {where}")
    if " " in txt.name or "," in txt.name:
        raise dns_error(f"prohibited character in DNS TXT record name '{txt.name}' {where}")
    if txt.value is None and not partial:
        detail = f"missing required value attribute in DNS TXT record named '{txt.name}'"
        raise dns_error(f"{detail} {where}")


def check_srv(name: str, srv: Srv, *, partial: bool = False) -> None:
    """Validate a SRV record; `partial`: it only selects the record to delete.

    Raises:
        ConfError: "xml_detail".
    """
    _check_names(name, srv, partial=partial)
    where = f"for service '{srv.service}' in network '{name}'"
    numbers = {"port": srv.port, "priority": srv.priority, "weight": srv.weight}
    for field_name, number in numbers.items():
        if number is None:
            continue
        if srv.target is None and not partial:
            detail = f"DNS SRV {field_name} attribute not permitted without target"
            raise dns_error(f"{detail} {where}")
        if number > LARGEST or (field_name == "port" and number == 0):
            raise dns_error(f"invalid DNS SRV {field_name} attribute {where}")


def _check_names(name: str, srv: Srv, *, partial: bool) -> None:
    checks = {"service": (srv.service, SERVICE), "protocol": (srv.protocol, PROTOCOL)}
    for field_name, (text, allowed) in checks.items():
        if text is None:
            if not partial:
                which = f" '{srv.service}'" if srv.service else ""
                detail = f"missing required {field_name} attribute in DNS SRV record{which}"
                raise dns_error(f"{detail} of network '{name}'")
        elif text and allowed.fullmatch(text) is None:
            detail = f"invalid character in {field_name} attribute '{text}' in DNS SRV record"
            raise dns_error(f"{detail} of network '{name}'")


def check_names(name: str, host: DnsHost, *, partial: bool = False) -> None:
    """Validate a DNS host; `partial`: it only selects the host to delete.

    Raises:
        ConfError: "xml_detail".
    """
    where = f"in network '{name}' DNS HOST record"
    if partial:
        if not host.ip and not host.hostnames:
            raise dns_error(f"Missing ip and hostname {where}")
        return
    if not host.ip:
        raise dns_error(f"Missing IP address {where}")
    if not host.hostnames:
        raise dns_error(f"Missing hostname {where}")
