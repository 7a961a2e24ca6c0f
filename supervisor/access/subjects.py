"""Subjects: which object a client's call is about, and so whose permissions it needs. Pure.

Owns: how each procedure of the protocol table names its object.
May not touch: the objects, which services know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Final

from rpc.access_table import CallAccess, argument_of, load_access
from rpc.table import Procedure

#: Methods that name the object only when they have read a file: they check themselves.
CHECKS_ITSELF: Final = frozenset(
    {
        "domain_restore", "domain_restore_flags", "domain_restore_params",
        "domain_save_image_get_xml_desc", "domain_save_image_define_xml",
        "domain_attach",
    }
)  # fmt: skip
DOCUMENTS: Final = ("xml", "xml_desc", "dom_xml")  # arguments that define an object
#: Arguments whose domain is the object.
OF_A_DOMAIN: Final = ("domain_snapshot", "domain_checkpoint")
#: A call of migration names the domain of this host by one of these, or by its document.
MIGRATED_NAME: Final = "dname"
MIGRATION_PARAMETERS: Final = "params"


class SubjectSource(Enum):
    """Where the object of a call comes from."""

    NOBODY = auto()  # everybody may call
    CONNECTION = auto()  # it is the connection itself
    ARGUMENT = auto()  # an argument
    RESULT = auto()  # the result: a look-up, which changes nothing
    DOCUMENT = auto()  # a document that defines it
    NAME = auto()  # an argument with its name
    MIGRATION = auto()  # the arguments of a migration to this host
    METHOD = auto()  # the method finds it, and checks


@dataclass(frozen=True, slots=True)
class Subject:
    """How a procedure names its object."""

    access: CallAccess
    source: SubjectSource
    argument: int = 0  # which one
    inside: int = -1  # of a document: the argument with the pool or the network; -1: none

    @property
    def lists(self) -> bool:
        """Whether the result is a list of objects that each must be visible to the client."""
        return self.access.filter is not None


class UnknownSubject(Exception):
    """Nothing says which object a call is about."""


@cache
def subject_of(procedure: Procedure) -> Subject:
    """Find how a procedure names its object.

    Raises:
        KeyError: the access table does not have it.
        UnknownSubject: it names none in a way that is known here.
    """
    access = load_access().of(procedure)
    if not access.rules:
        return Subject(access, SubjectSource.NOBODY)
    if access.object_type == "connect":
        return Subject(access, SubjectSource.CONNECTION)
    if procedure.name in CHECKS_ITSELF:
        return Subject(access, SubjectSource.METHOD)
    first = procedure.args[0].type.base if procedure.args else ""
    if first == access.object_type or (access.object_type == "domain" and first in OF_A_DOMAIN):
        return Subject(access, SubjectSource.ARGUMENT)
    names = [field.name for field in procedure.args]
    if procedure.name.startswith(("domain_migrate_prepare", "domain_migrate_finish")):
        return Subject(access, SubjectSource.MIGRATION)
    if procedure.read_only and [f.type.base for f in procedure.ret] == [access.object_type]:
        return Subject(access, SubjectSource.RESULT)
    for name in DOCUMENTS:
        if name in names:
            inside = names.index("pool") if "pool" in names else -1
            inside = names.index("network") if "network" in names else inside
            return Subject(access, SubjectSource.DOCUMENT, names.index(name), inside)
    if access.object_type == "node_device" and "name" in names:
        return Subject(access, SubjectSource.NAME, names.index("name"))
    raise UnknownSubject(procedure.name)


@dataclass(frozen=True, slots=True)
class MigratedDomain:
    """What the arguments of a migration to this host say of the domain."""

    name: str = ""
    xml: str = ""


def migrated_domain(procedure: Procedure, arguments: Sequence[object]) -> MigratedDomain:
    """Read the domain's name, and its document, of a call of a migration to this host."""
    name = argument_of(procedure, arguments, MIGRATED_NAME)
    xml = argument_of(procedure, arguments, "dom_xml")
    params = argument_of(procedure, arguments, MIGRATION_PARAMETERS)
    if isinstance(params, list):
        given = {param.field: param.value.value for param in params}
        name, xml = given.get("destination_name"), given.get("destination_xml")
    return MigratedDomain(
        name if isinstance(name, str) else "", xml if isinstance(xml, str) else ""
    )
