"""Stock clients of other users under access_drivers = ["roles"]."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.clients.daemon import VIRTVISORCTL, Daemon
from tests.clients.event_watch import wait_until
from tests.clients.libvirt_binding import libvirt

ALICE: Final = 64101  # users that the host need not have
OPS: Final = 64102  # a group
CONFIG: Final = 'access_drivers = ["roles"]\nunix_sock_rw_perms = "0777"\n'
ROLES: Final = f"""
role web-team
    who uid:{ALICE}
    deny domain.delete
    allow domain.* name:web-*
    allow network.getattr
role operators
    who gid:{OPS}
    allow domain.getattr metadata:urn:team=ops
role everybody
    who any
    allow connect.*
"""
DOMAIN: Final = (
    "<domain type='qemu'><name>{name}</name>{more}<memory>32768</memory>"
    "<os><type arch='x86_64'>hvm</type></os></domain>"
)
OPS_OWN: Final = "<metadata><t:team xmlns:t='urn:team'>ops</t:team></metadata>"
CLIENT: Final = """
import json, sys, libvirt
libvirt.registerErrorHandler(lambda *_: None, None)
connection = libvirt.open(sys.argv[1])
def tried(work):
    try:
        return work(connection)
    except libvirt.libvirtError as error:
        return [error.get_error_code(), error.get_error_domain(), error.get_error_message()]
print(json.dumps([tried(eval("lambda c: " + text)) for text in sys.argv[2:]]))
"""
DENIED: Final = [88, 55, "access denied: 'QEMU' denied access"]
NAMES: Final = "sorted(d.name() for d in c.listAllDomains())"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Daemon]:
    daemon = Daemon()
    folder = daemon.root / "etc/libvirt"
    folder.mkdir(parents=True)
    (folder / "libvirtd.conf").write_text(CONFIG)
    (folder / "roles.conf").write_text(ROLES)
    with daemon:
        connection = libvirt.open(daemon.uri)
        for name, more in (("web-1", ""), ("secret", ""), ("ops-1", OPS_OWN)):
            connection.defineXML(DOMAIN.format(name=name, more=more))
        connection.close()
        yield daemon


def asked(daemon: Daemon, *expressions: str, uid: int = ALICE, gid: int = ALICE) -> list[Any]:
    """Evaluate expressions of a connection `c` as another user."""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", CLIENT, daemon.uri, *expressions],
        *(-1, None, None, subprocess.PIPE),
        user=uid,
        group=uid,
        extra_groups=[gid],
        env={**os.environ, "HOME": "/nonexistent"},
        text=True,
        timeout=60,
        check=True,
    )
    answers: list[Any] = json.loads(done.stdout)
    return answers


def test_a_user_sees_and_changes_what_its_role_names(guarded: Daemon) -> None:
    assert asked(
        guarded,
        NAMES,
        "c.numOfDefinedDomains()",
        "c.listDefinedDomains()",
        "c.lookupByName('secret').name()",
        "c.lookupByName('web-1').setMetadata(0, 'mine', None, None, 2)",
        "c.lookupByName('web-1').metadata(0, None)",
        "c.lookupByName('web-1').undefine()",
        "c.lookupByName('none')",
        "c.defineXML(\"<domain type='qemu'><name>other</name></domain>\")",
        "[n.XMLDesc() for n in c.listAllNetworks()]",
        "[r[0].name() for r in c.getAllDomainStats(1)]",
    ) == [
        ["web-1"],
        1,
        ["web-1"],
        DENIED,
        0,
        "mine",
        DENIED,
        [42, 10, "Domain not found: no domain with matching name 'none'"],
        DENIED,
        DENIED,
        ["web-1"],
    ]


def test_a_group_sees_domains_by_their_metadata(guarded: Daemon) -> None:
    seen, created = asked(guarded, NAMES, "c.lookupByName('ops-1').create()", uid=64103, gid=OPS)
    assert (seen, created) == (["ops-1"], DENIED)


def test_root_may_do_everything_and_the_log_says_what_another_lacks(guarded: Daemon) -> None:
    connection = libvirt.open(guarded.uri)
    assert len(connection.listAllDomains()) == 3
    connection.close()
    asked(guarded, "c.lookupByName('secret')")
    missing = "it lacks domain.getattr on domain 'secret'"
    wait_until(missing, lambda: missing in guarded.log.read_text())
    assert f"client uid {ALICE} pid " in guarded.log.read_text()


def test_events_are_of_domains_that_the_client_may_see(guarded: Daemon) -> None:
    script = (
        "import libvirt, sys\n"
        "libvirt.virEventRegisterDefaultImpl()\n"
        "c = libvirt.open(sys.argv[1])\n"
        "def seen(c, d, event, detail, data):\n"
        "    print(d.name(), event, flush=True)\n"
        "c.domainEventRegisterAny(None, 0, seen, None)\n"
        "print('ready', flush=True)\n"
        "while True: libvirt.virEventRunDefaultImpl()\n"
    )
    watcher = subprocess.Popen(
        ["/usr/bin/python3", "-c", script, guarded.uri],
        stdout=subprocess.PIPE,
        user=ALICE,
        group=ALICE,
        extra_groups=[],
        text=True,
    )
    assert watcher.stdout is not None
    try:
        assert watcher.stdout.readline() == "ready\n"
        connection = libvirt.open(guarded.uri)
        for name in ("hidden", "web-2"):
            domain = connection.defineXML(DOMAIN.format(name=name, more=""))
            domain.undefine()
        connection.close()
        # The event of a domain that is gone by now is judged by its name.
        assert [watcher.stdout.readline() for _ in range(2)] == ["web-2 0\n", "web-2 1\n"]
    finally:
        watcher.kill()
        watcher.wait()
        watcher.stdout.close()


def test_virtvisorctl_names_the_line_that_decides(guarded: Daemon) -> None:
    done = subprocess.run(
        [
            *(str(VIRTVISORCTL), "--root", str(guarded.root), "access", "explain"),
            *(str(ALICE), "virDomainUndefine", "web-1"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (4, "")
    assert done.stdout == (
        f"{ALICE}, virDomainUndefine, domain 'web-1'\n"
        "  domain.delete: refused\n"
        f"    {guarded.root}/etc/libvirt/roles.conf:4: role web-team: deny domain.delete\n"
    )


def test_the_file_is_reread_and_a_mistake_leaves_the_last_rules(guarded: Daemon) -> None:
    roles = guarded.root / "etc/libvirt/roles.conf"
    assert guarded.process is not None
    roles.write_text(ROLES + "    allow domain.strat\n")
    guarded.process.send_signal(signal.SIGHUP)
    line = ROLES.count("\n") + 1
    mistake = f"roles.conf:{line}: there is no permission 'domain.strat'"
    wait_until(mistake, lambda: mistake in guarded.log.read_text())
    assert asked(guarded, NAMES) == [["web-1"]]
    roles.write_text(ROLES + "    allow domain.getattr name:secret\n")
    guarded.process.send_signal(signal.SIGHUP)
    wait_until("the new rules", lambda: asked(guarded, NAMES) == [["secret", "web-1"]])
