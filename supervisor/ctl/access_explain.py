"""virtvisorctl access explain: which rule of access control decides about a call.

Owns: its command line, and how the answer is shown.
May touch: the host's users, to find out who somebody is. May not touch: the rules.
"""

from __future__ import annotations

import argparse
import os
import pwd
from typing import Final

from rpc.access_table import load_access
from rpc.table import Procedure, load
from supervisor.drivers.table import DRIVERS
from supervisor.messages.calls import AccessExplanation, AccessQuestion, Identity
from supervisor.messages.root import AccessRequest

#: What of the tree answers about the connection itself, and about a call that no service has yet.
ANY_SERVICE: Final = "hostd"
ANSWERS: Final = {True: "allowed", False: "refused", None: "by polkit"}
REFUSED: Final = 4


class UnknownNameError(Exception):
    """There is no such user, call or permission."""


def add_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    access = commands.add_parser("access", help="explain access control")
    verbs = access.add_subparsers(dest="verb", required=True, metavar="VERB")
    explain = verbs.add_parser("explain", help="say which rule decides about a call")
    explain.add_argument("user", help="NAME or UID of the host, sasl:NAME, or dn:NAME")
    explain.add_argument("call", help="virDomainCreate, domain_create, or domain.start")
    explain.add_argument("object", nargs="?", default="", help="name or UUID; POOL/VOLUME")
    explain.add_argument("--driver", choices=[driver.name for driver in DRIVERS], default="qemu")


def request_of(options: argparse.Namespace) -> AccessRequest:
    """Make the request to the daemon.

    Raises:
        UnknownNameError: there is no such user, call or permission.
    """
    driver = DRIVERS[options.driver]
    call, permission, owner = find_call(options.call)
    question = AccessQuestion(
        identity=find_user(options.user),
        driver=driver.name,
        call=call,
        permission=permission,
        object=options.object,
    )
    return AccessRequest(process=driver.process(owner), question=question)


def find_user(text: str) -> Identity:
    """Find out who somebody is: a user with its groups, or a name by SASL or certificate.

    Raises:
        UnknownNameError: the host has no such user.
    """
    kind, colon, name = text.partition(":")
    if colon and kind == "sasl":
        return Identity(sasl_name=name)
    if colon and kind == "dn":
        return Identity(tls_dn=name)
    if text.isascii() and text.isdecimal():
        return Identity(uid=int(text))
    try:
        user = pwd.getpwnam(text)
    except KeyError:
        raise UnknownNameError(f"the host has no user '{text}'") from None
    groups = tuple(os.getgrouplist(user.pw_name, user.pw_gid))
    return Identity(uid=user.pw_uid, gid=user.pw_gid, groups=groups)


def find_call(text: str) -> tuple[str, str, str]:
    """Find a procedure, by its name or libvirt's, or a permission.

    Returns:
        The procedure's name or "", the permission or "", and the owner of the object.

    Raises:
        UnknownNameError: there is none.
    """
    permissions = {str(permission): permission for permission in load_access().permissions}
    if text in permissions:
        return "", text, owner_of(permissions[text].object)
    calls = load_access().calls
    found = [p for p in load().procedures() if p.name in calls and text in (p.name, p.api)]
    if not found:
        raise UnknownNameError(f"there is no call or permission '{text}'")
    return found[0].name, "", service_of(found[0])


def service_of(procedure: Procedure) -> str:
    """Return the owner whose rules a call is judged by: domd checks what it passes to workers."""
    if procedure.owner == "worker":
        return "domd"
    return ANY_SERVICE if procedure.owner in (None, "rpcd") else str(procedure.owner)


def owner_of(object_type: str) -> str:
    """Return the owner of a type's objects."""
    for procedure in load().procedures():
        access = load_access().calls.get(procedure.name)
        if access is not None and access.object_type == object_type:
            return service_of(procedure)
    return ANY_SERVICE


def format_explanation(options: argparse.Namespace, answer: AccessExplanation) -> str:
    """Show the answer: a line for each permission, the reasons below it."""
    missing = "" if answer.exists else " (there is none: it is judged by its name)"
    lines = [f"{options.user}, {options.call}, {answer.object}{missing}"]
    if not answer.permissions:
        lines.append("  everybody may call it")
    for one in answer.permissions:
        when = f" ({one.when})" if one.when else ""
        lines.append(f"  {one.permission}{when}: {ANSWERS[one.allowed]}")
        lines += [f"    {reason}" for reason in one.reasons]
    return "\n".join(lines) + "\n"


def exit_status(answer: AccessExplanation) -> int:
    """Return 4 where something that is always needed is refused, else 0."""
    refused = any(one.allowed is False and not one.when for one in answer.permissions)
    return REFUSED if refused else 0
