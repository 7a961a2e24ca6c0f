"""Load: the objects of one type from their files, when a service starts.

Owns: which files count. May touch: the registry. May not touch: what the objects stand for.

A file that cannot be read, or whose name is not its object's, is left out with a log line and stays
on disk: a later version, or its administrator, may read it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from conf.errors import ConfError
from rpc.errors import VirError
from supervisor.objects.definition_files import StoredXml
from supervisor.objects.definition_xml import DefinitionXml
from supervisor.objects.object import LibvirtObject
from supervisor.objects.registry import Registry

E = TypeVar("E", bound=LibvirtObject[Any, Any])
D = TypeVar("D")

log = logging.getLogger(__name__)


def load_definitions(
    registry: Registry[E], stored: Iterable[StoredXml], xml: DefinitionXml[D]
) -> None:
    """Add the objects of definition files."""
    for file, obj, definition in _load(registry, stored, xml, xml.parse, "definition"):
        if obj.definition is None:
            obj.definition, obj.autostart = definition, file.autostart


def load_status(
    registry: Registry[E],
    stored: Iterable[StoredXml],
    xml: DefinitionXml[D],
    parse: Callable[[str], D],
) -> Iterator[tuple[E, D]]:
    """Add the objects of status files; give each with the model in its status.

    Args:
        registry: of the objects.
        stored: the status files.
        xml: of the type.
        parse: reads a status file's XML; raises ConfError.
    """
    for _, obj, model in _load(registry, stored, xml, parse, "status"):
        yield obj, model


def _load(
    registry: Registry[E],
    stored: Iterable[StoredXml],
    xml: DefinitionXml[D],
    parse: Callable[[str], D],
    content: str,
) -> Iterator[tuple[StoredXml, E, D]]:
    type_name = registry.object_type.name
    for file in stored:
        try:
            model = parse(file.xml)
            identity = xml.identity(model)
            if identity.name != file.name:
                raise ConfError("xml", f"it is of '{identity.name}'")
            obj = registry.object_for(*identity)
        except (ConfError, ValueError, VirError) as error:
            log.error("the %s of %s '%s' is left out: %s", content, type_name, file.name, error)
            continue
        registry.add(obj)
        yield file, obj, model
