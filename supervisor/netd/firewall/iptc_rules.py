"""Rules of iptables as python-iptables' objects, and back.

Owns: that translation. May not touch: tables; no call here changes the kernel.

`iptc.easy` does it, too, but leaves out what it cannot translate, so that a rule would match more
than it should: here a rule is compared with what it became, and refused where they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from supervisor.netd.firewall.iptables_save import parse_rule
from supervisor.netd.firewall.rules import Family

FIELDS: Final = {
    "-s": "src",
    "-d": "dst",
    "-i": "in_interface",
    "-o": "out_interface",
    "-p": "protocol",
}
OPTIONS: Final = {name.replace("_", "-"): option for option, name in FIELDS.items()}


def to_iptc(iptc: Any, family: Family, args: Sequence[str]) -> Any:  # noqa: ANN401
    """Build the rule object of a rule.

    Args:
        iptc: the module, which only the child process loads.
        family: of the rule.
        args: as in iptables-save.

    Raises:
        ValueError: python-iptables does not translate all of it.
    """
    rule = iptc.Rule() if family is Family.V4 else iptc.Rule6()
    module = None
    for option, values, negated in _options(args):
        value = ("!" if negated else "") + " ".join(values)
        if option in FIELDS:
            setattr(rule, FIELDS[option], value)
        elif option == "-m":
            module = rule.create_match(value)
        elif option in ("-j", "-g"):
            module = rule.create_target(value, goto=option == "-g")
        elif module is not None:
            module.set_parameter(option.removeprefix("--"), value)
        else:
            raise ValueError(f"{option} belongs to no match")
    became = from_iptc(iptc, family, rule)
    if parse_rule(became) != parse_rule(args):
        raise ValueError(f"'{' '.join(args)}' would become '{' '.join(became)}'")
    return rule


def from_iptc(iptc: Any, family: Family, rule: Any) -> list[str]:  # noqa: ANN401
    """Format a rule object as iptables-save does, in some order of options."""
    fields = iptc.easy.decode_iptc_rule(rule, ipv6=family is Family.V6)
    args: list[str] = []
    for name, value in fields.items():
        if name in OPTIONS:
            args += _negatable(OPTIONS[name], value)
        elif name not in ("counters", "target"):
            for match in value if isinstance(value, list) else [value]:
                args += ["-m", name, *_parameters(match)]
    return [*args, *_target(fields.get("target", ""))]


def _target(target: Any) -> list[str]:  # noqa: ANN401
    if isinstance(target, str):
        return ["-j", target] if target else []
    [(name, parameters)] = target.items()
    if name == "goto":
        return ["-g", parameters]
    return ["-j", name, *_parameters(parameters)]


def _parameters(parameters: Any) -> Iterator[str]:  # noqa: ANN401
    for name, value in parameters.items():
        yield from _negatable(f"--{name}", value)


def _negatable(option: str, value: Any) -> list[str]:  # noqa: ANN401
    values = [str(part) for part in value] if isinstance(value, list) else [str(value)]
    negation = ["!"] if values[0].startswith("!") else []
    values[0] = values[0].removeprefix("!").strip()
    return [*negation, option, *(part for part in values if part)]


def _options(args: Sequence[str]) -> Iterator[tuple[str, list[str], bool]]:
    """Group a rule's arguments: an option, its values, whether it is negated."""
    option, values, negated, next_negated = "", list[str](), False, False
    for arg in args:
        if arg == "!":
            next_negated = True
        elif arg.startswith("-"):
            if option:
                yield option, values, negated
            option, values, negated, next_negated = arg, [], next_negated, False
        else:
            values.append(arg)
    if option:
        yield option, values, negated
