"""The measured answers of a stock libvirt 9.0 on pools, volumes and secrets, and ours beside them.

The folder is not part of the project; whoever has it at hand compares with it. Nothing of it is
copied here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lxml import etree

from conf.errors import ConfError
from conf.secret import format_secret, parse_secret
from conf.storage import (
    PoolType,
    Volume,
    check_new_volume,
    format_pool,
    format_volume,
    parse_pool,
    parse_volume,
    volume_type,
)
from conf.storage.permissions import Permissions
from conf.storage.volume import DEFAULT_MODE
from rpc.errors import VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.hostd.secrets.registry import SecretRegistry
from tests.paths import SHARED

CORPUS: Final = SHARED / "corpus"
CATEGORIES: Final = ("storage-pool", "storage-volume", "secret")
#: Types whose backend the measured host did not have: it refused to define them, we define them
#: and refuse to start them where the tools are missing (issue 4).
DEFINABLE_HERE: Final = (PoolType.ISCSI_DIRECT, PoolType.RBD, PoolType.ZFS)
_TOKEN: Final = re.compile("@[A-Z]+[0-9]*@")


@dataclass(frozen=True, slots=True)
class Case:
    """A document, and what the stock daemon made of it."""

    category: str
    name: str
    document: str
    output: str  # "" where it refused
    code: int  # 0 where it accepted
    message: str


def cases(category: str) -> Iterator[Case]:
    """Every case of a category."""
    with (CORPUS / f"{category}.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            yield Case(
                category,
                case["name"],
                case["input"],
                case.get("output", ""),
                case.get("code", 0),
                case.get("message", ""),
            )


def is_definable_here(case: Case) -> bool:
    """Whether stock refused the pool only because its host lacked the backend."""
    kinds = "|".join(DEFINABLE_HERE)
    return case.message.startswith("internal error: missing backend") and (
        re.search(rf"type=['\"]({kinds})['\"]", case.document) is not None
    )


def difference(case: Case) -> list[str]:
    """The lines in which we differ: `-` is stock's, `+` ours; empty if we do not."""
    try:
        ours = answer(case)
    except (ConfError, VirError) as error:
        refused = from_conf_error(error) if isinstance(error, ConfError) else error
        if refused.code == case.code:
            return []
        what = f"stock: {case.code} {case.message}" if case.code else "stock accepts it"
        return [f"- {what}", f"+ {int(refused.code)} {refused.message}"]
    if case.code:
        return [f"- {case.code} {case.message}", "+ accepted"]
    return unlike(case.output, ours)


def answer(case: Case) -> str:
    """Our document for it.

    Raises:
        ConfError, VirError: we refuse it.
    """
    if case.category == "secret":
        return format_secret(parse_secret(case.document))
    if case.category == "storage-pool":
        return format_pool(parse_pool(case.document))
    volume = parse_volume(case.document, PoolType.DIR)
    check_new_volume(volume, PoolType.DIR)
    encryption = volume.target.encryption
    for secret in encryption.secrets if encryption else ():
        SecretRegistry().get_value("volume", secret.uuid or "", secret.usage or "")
    _made(volume, case.output)
    return format_volume(volume)


def _made(volume: Volume, output: str) -> None:
    """Say of a volume what its file would say; what only a file system knows stock has told."""
    stock = etree.fromstring(output)
    volume.type = volume_type(PoolType.DIR, volume.target.format)
    volume.key = volume.target.path = f"@POOL@/{volume.name}"
    wished = volume.target.permissions or Permissions()
    volume.target.permissions = Permissions(
        mode=DEFAULT_MODE if wished.mode is None else wished.mode,
        owner=wished.owner or 0,
        group=wished.group or 0,
    )
    sizes = {what: stock.findtext(what) for what in ("capacity", "allocation", "physical")}
    if volume.capacity is None or volume.target.format == "dir":
        volume.capacity = int(sizes["capacity"] or 0)
    said = sizes["allocation"] or "0"
    volume.allocation = 1 if _TOKEN.fullmatch(said) else int(said)
    volume.physical = int(sizes["physical"] or 0)
    target = volume.target
    target.atime = target.mtime = target.ctime = target.btime = "@TIME@"


def unlike(theirs: str, ours: str) -> list[str]:
    """Lines that only one of two documents has; made-up values are alike, order matters."""
    wanted, found = _lines(theirs), _lines(ours)
    if len(wanted) == len(found) and all(map(_alike, wanted, found)):
        return []
    return [*(f"- {line}" for line in wanted), *(f"+ {line}" for line in found)]


def _alike(wanted: str, found: str) -> bool:
    parts = [re.escape(part) for part in _TOKEN.split(wanted)]
    return re.fullmatch(".+".join(parts), found) is not None


def _lines(document: str) -> list[str]:
    """An element a line; order of attributes and white space between elements mean nothing."""
    found: list[str] = []
    for node in etree.fromstring(document).iter(etree.Element):
        depth = sum(1 for _ in node.iterancestors())
        attributes = "".join(f" {n!s}='{v!s}'" for n, v in sorted(node.attrib.items()))
        said = (node.text or "").strip() if len(node) == 0 else ""
        found.append(f"{'  ' * depth}<{node.tag}{attributes}> {said}".rstrip())
    return found
