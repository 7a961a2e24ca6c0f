"""Filters and bindings with a backend that can fail."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from conf.nwfilter import FilterBinding
from rpc.errors import ErrorCode, VirError
from supervisor.netd.nwfilter import address_learning
from supervisor.netd.nwfilter.address_learning import LearningMode
from supervisor.netd.nwfilter.binding_files import BindingFiles
from supervisor.netd.nwfilter.filter_files import FilterFiles
from supervisor.netd.nwfilter.filters import Filters
from supervisor.netd.nwfilter.tap_plan import TapPlan

UUID = "d54df46f-1ab5-4a22-8618-4560ef5fac2c"


class Kernel:
    """Records calls; refuses when the test sets `refuses`."""

    def __init__(self) -> None:
        self.chains: dict[str, TapPlan] = {}
        self.refuses: Callable[[Mapping[str, TapPlan | None]], bool] = lambda plans: False
        self.busy = 0

    async def apply(self, plans: Mapping[str, TapPlan | None]) -> None:
        self.busy += 1
        assert self.busy == 1, "two changes at once"
        await asyncio.sleep(0)
        self.busy -= 1
        if self.refuses(plans):
            raise VirError(ErrorCode.INTERNAL_ERROR, "refused")
        for tap, plan in plans.items():
            if plan is None:
                self.chains.pop(tap, None)
            else:
                self.chains[tap] = plan

    async def taps(self) -> set[str]:
        return set(self.chains)


def document(name: str, address: str, uuid: str = "") -> str:
    told = f"<uuid>{uuid}</uuid>" if uuid else ""
    rule = f"<rule action='drop' direction='out'><ip srcipaddr='{address}'/></rule>"
    return f"<filter name='{name}' chain='ipv4'>{told}{rule}</filter>"


def binding(tap: str = "lo", filter: str = "f") -> FilterBinding:
    return FilterBinding(
        tap=tap, mac="52:54:00:00:00:01", filter=filter, owner="web", owner_uuid=UUID
    )


async def opened(folder: Path, kernel: Kernel) -> Filters:
    files = FilterFiles(folder / "etc/nwfilter")
    bindings = BindingFiles(folder / "run/nwfilter-binding")
    filters = Filters(files, bindings, kernel, lambda: {"lo", "vnet1"})
    await filters.load(lambda: {"f": document("f", "10.0.0.1")})
    await filters.recover()
    return filters


def test_first_start_installs_filters_with_stable_uuids(tmp_path: Path) -> None:
    async def twice() -> tuple[str, str]:
        first = await opened(tmp_path, Kernel())
        second = await opened(tmp_path, Kernel())
        return first.registry.get_by_name("f").uuid_text, second.registry.get_by_name("f").uuid_text

    first, second = asyncio.run(twice())
    assert first == second


def test_removed_packaged_filters_are_not_reinstalled(tmp_path: Path) -> None:
    async def removed() -> int:
        filters = await opened(tmp_path, Kernel())
        await filters.undefine("f")
        return len((await opened(tmp_path, Kernel())).registry)

    assert asyncio.run(removed()) == 0


def test_redefinition_updates_the_interface(tmp_path: Path) -> None:
    async def redefined() -> str:
        kernel = Kernel()
        filters = await opened(tmp_path, kernel)
        await filters.bind(binding())
        await filters.define(document("f", "10.0.0.2"))
        return str(kernel.chains["lo"].ether)

    assert "10.0.0.2" in asyncio.run(redefined())


def test_redefinition_is_accepted_while_a_tap_vanishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanished(tap: str, mode: LearningMode) -> socket.socket:
        raise OSError(errno.ENODEV, "No such device", tap)

    async def redefined() -> str:
        kernel = Kernel()
        filters = await opened(tmp_path, kernel)
        await filters.bind(binding())
        # The new definition needs the guest's address, which a packet socket on the tap learns.
        await filters.define(document("f", "$IP"))
        return filters.registry.get_by_name("f").xml

    monkeypatch.setattr(address_learning, "open_socket", vanished)
    assert "$IP" in asyncio.run(redefined())


def test_redefinition_refused_by_the_kernel_changes_nothing(tmp_path: Path) -> None:
    async def refused() -> tuple[str, str, str]:
        kernel = Kernel()
        filters = await opened(tmp_path, kernel)
        await filters.bind(binding())
        before = filters.registry.get_by_name("f").xml
        kernel.refuses = lambda plans: "10.0.0.2" in str(plans)
        with pytest.raises(VirError, match="refused"):
            await filters.define(document("f", "10.0.0.2"))
        again = await opened(tmp_path, Kernel())
        assert again.registry.get_by_name("f").xml == before
        return before, filters.registry.get_by_name("f").xml, str(kernel.chains["lo"].ether)

    before, after, chains = asyncio.run(refused())
    assert after == before
    assert "10.0.0.1" in chains


def test_redefinition_that_does_not_fit_an_interface_is_refused(tmp_path: Path) -> None:
    async def refused() -> None:
        filters = await opened(tmp_path, Kernel())
        await filters.bind(binding())
        await filters.define(document("f", "$UNKNOWN"))

    with pytest.raises(VirError, match=r"unresolvable variables.*UNKNOWN"):
        asyncio.run(refused())


def test_filter_in_use_cannot_be_undefined(tmp_path: Path) -> None:
    async def in_use() -> None:
        filters = await opened(tmp_path, Kernel())
        await filters.define("<filter name='g'><filterref filter='f'/></filter>")
        await filters.bind(binding(filter="g"))
        await filters.undefine("f")

    with pytest.raises(VirError, match="in use: 'f' filters 'lo'") as refused:
        asyncio.run(in_use())
    assert refused.value.code is ErrorCode.OPERATION_INVALID


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        (document("f", "10.0.0.1", "00000000-0000-4000-8000-000000000001"), "already exists with"),
        ("<filter name='f'><filterref filter='f'/></filter>", "loop"),
    ],
)
def test_uuid_conflicts_and_loops_are_refused(tmp_path: Path, xml: str, says: str) -> None:
    async def refused() -> None:
        await (await opened(tmp_path, Kernel())).define(xml)

    with pytest.raises(VirError, match=says) as problem:
        asyncio.run(refused())
    assert problem.value.code is ErrorCode.OPERATION_FAILED


def test_uuid_of_another_filter_is_refused(tmp_path: Path) -> None:
    async def refused() -> None:
        filters = await opened(tmp_path, Kernel())
        await filters.define(document("g", "10.0.0.1", filters.registry.get_by_name("f").uuid_text))

    with pytest.raises(VirError, match="same UUID but different name"):
        asyncio.run(refused())


def test_refused_binding_leaves_no_file(tmp_path: Path) -> None:
    async def refused() -> list[str]:
        kernel = Kernel()
        filters = await opened(tmp_path, kernel)
        kernel.refuses = lambda plans: any(plans.values())
        with pytest.raises(VirError, match="refused"):
            await filters.bind(binding())
        assert filters.registry.bindings == {}
        return [path.name for path in (tmp_path / "run/nwfilter-binding").iterdir()]

    assert asyncio.run(refused()) == []


def test_second_binding_of_a_tap_is_refused(tmp_path: Path) -> None:
    async def refused() -> None:
        filters = await opened(tmp_path, Kernel())
        bound = await filters.bind(binding())
        await filters.create_binding(bound.xml)

    with pytest.raises(VirError, match="binding 'lo' already exists"):
        asyncio.run(refused())


def test_restart_restores_bindings_and_drops_missing_taps(tmp_path: Path) -> None:
    async def found() -> tuple[list[str], set[str], list[str]]:
        filters = await opened(tmp_path, Kernel())
        await filters.bind(binding("lo"))
        await filters.bind(binding("vnet4711"))
        kernel = Kernel()
        kernel.chains = {"vnet4711": TapPlan("vnet4711"), "vnet4712": TapPlan("vnet4712")}
        again = await opened(tmp_path, kernel)
        files = [path.name for path in (tmp_path / "run/nwfilter-binding").glob("*.xml")]
        return list(again.registry.bindings), set(kernel.chains), files

    assert asyncio.run(found()) == (["lo"], {"lo"}, ["lo.xml"])


def test_one_failing_tap_does_not_leave_others_unfiltered(tmp_path: Path) -> None:
    async def recovered() -> set[str]:
        filters = await opened(tmp_path, Kernel())
        await filters.bind(binding("lo"))
        await filters.bind(binding("vnet1"))
        kernel = Kernel()
        kernel.refuses = lambda plans: "vnet1" in plans
        await opened(tmp_path, kernel)
        return set(kernel.chains)

    assert asyncio.run(recovered()) == {"lo"}


def test_concurrent_changes_finish_without_leftovers(tmp_path: Path) -> None:
    async def many() -> dict[str, TapPlan]:
        kernel = Kernel()
        filters = await opened(tmp_path, kernel)

        async def live(number: int) -> None:
            for turn in range(5):
                await filters.bind(binding(f"vnet{number}"))
                await filters.define(document("f", f"10.0.{number}.{turn}"))
                await filters.unbind(f"vnet{number}")

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(live(number))
        return kernel.chains

    assert asyncio.run(many()) == {}


def test_cancelled_caller_leaves_a_consistent_binding(tmp_path: Path) -> None:
    async def cancelled() -> bool:
        kernel = Kernel()
        filters = await opened(tmp_path, kernel)
        task = asyncio.create_task(filters.bind(binding()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return ("lo" in kernel.chains) == bool(filters.registry.bindings)

    assert asyncio.run(cancelled())


@pytest.mark.parametrize("name", ["-j", 'a"b', "a b", "a\nb", ""])
def test_unsafe_device_names_are_refused(tmp_path: Path, name: str) -> None:
    async def refused() -> None:
        await (await opened(tmp_path, Kernel())).bind(binding(name))

    with pytest.raises(VirError, match="cannot be filtered"):
        asyncio.run(refused())


def test_missing_folder_is_not_fatal(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("this is no folder")

    async def found() -> int:
        return len((await opened(tmp_path, Kernel())).registry)

    assert asyncio.run(found()) == 0
