"""Save and managed save in domd: jobs that outlive their calls, and images of the right domain."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ipc import Ack
from rpc.enums import DomainEventID, DomainEventType, DomainJobType, DomainState
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.images.save_image import Compression, new_image
from supervisor.messages.worker import AbortJob, RestoreImage, Save, Start
from tests.unit.domd.domd_under_test import DOM, XML, Domd, FakeWorker, domd, successor

SAVED = (DomainEventType.STOPPED, 4)
RESTORED = [(DomainEventType.STARTED, 2), (DomainEventType.RESUMED, 2)]
FORCE_BOOT = 8


class HeldSave:
    """A worker's save that goes on until the test ends it."""

    def __init__(self, service: Domd) -> None:
        self.begun = asyncio.Event()
        self.aborted = asyncio.Event()
        service.tree.scripts[Save] = self.save
        service.tree.scripts[AbortJob] = self.abort

    async def save(self, worker: FakeWorker, request: Save) -> Ack:
        self.begun.set()
        await self.aborted.wait()
        detail = "job 'domain save' canceled by client"
        raise VirError(ErrorCode.OPERATION_ABORTED, detail, ErrorDomain.QEMU)

    async def abort(self, worker: FakeWorker, _: AbortJob) -> Ack:
        self.aborted.set()
        return Ack()


async def running(service: Domd) -> None:
    await service.define()
    await service.start()


def managed_image(service: Domd) -> Path:
    return service.host.paths.managed_save("web")


def write_image(path: Path, xml: str, *, complete: bool = True) -> None:
    image = new_image(xml, was_running=True, compression=Compression.RAW)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image.encode(complete=complete) + b"QEVM")


async def test_a_saved_domain_is_off_and_its_job_completed(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        await service.call("domain_save", DOM, "/x")
        assert await service.state() == DomainState.SHUTOFF
        assert service.tree.events[-1] == SAVED
        assert DomainEventID.JOB_COMPLETED in service.tree.other_events
        kind, _ = await service.call("domain_get_job_stats", DOM, 1)
        assert kind == DomainJobType.COMPLETED


async def test_an_aborted_save_fails_and_the_domain_runs_on(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        held = HeldSave(service)
        saving = asyncio.create_task(service.call("domain_save", DOM, "/x"))
        await held.begun.wait()
        assert (await service.call("domain_get_job_info", DOM))[0] == DomainJobType.UNBOUNDED
        await service.call("domain_abort_job", DOM)
        with pytest.raises(VirError, match="canceled by client") as aborted:
            await saving
        assert aborted.value.code is ErrorCode.OPERATION_ABORTED
        assert await service.state() == DomainState.RUNNING
        assert (await service.call("domain_get_job_info", DOM))[0] == DomainJobType.NONE
        assert DomainEventID.JOB_COMPLETED not in service.tree.other_events


async def test_a_save_goes_on_when_its_client_is_gone(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        held = HeldSave(service)
        saving = asyncio.create_task(service.call("domain_save", DOM, "/x"))
        await held.begun.wait()
        saving.cancel()
        await asyncio.wait({saving})
        assert (await service.call("domain_get_job_info", DOM))[0] == DomainJobType.UNBOUNDED
        held.aborted.set()
        async with asyncio.timeout(5):
            while (await service.call("domain_get_job_info", DOM))[0]:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


async def test_a_save_whose_worker_dies_fails_when_the_next_one_has_no_job(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        held = HeldSave(service)
        saving = asyncio.create_task(service.call("domain_save", DOM, "/x"))
        await held.begun.wait()
        service.tree.worker.die()
        with pytest.raises(VirError, match="died during save; the job is undone"):
            await saving
        assert await service.state() == DomainState.RUNNING


async def test_a_new_domd_can_abort_the_job_of_its_predecessor(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await running(service)
        held = HeldSave(service)
        saving = asyncio.create_task(service.call("domain_save", DOM, "/x", ignore_errors=True))
        await held.begun.wait()
        request = service.tree.worker.requests[-1]
        assert isinstance(request, Save)
        service.tree.worker.change_state(
            DomainState.PAUSED, DomainEventType.SUSPENDED, 0, job=request.job
        )
        async with successor(service) as again:
            await again.call("domain_abort_job", DOM)
            assert held.aborted.is_set()
        await saving


async def test_only_a_defined_domain_has_a_managed_save(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.call("domain_create_xml", XML["qemu"], 0)
        with pytest.raises(VirError, match="cannot do managed save for transient domain"):
            await service.call("domain_managed_save", DOM, 0)


async def test_a_start_goes_on_from_the_managed_save(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        write_image(managed_image(service), await service.xml())
        await service.start()
        request = service.tree.worker.requests[-1]
        assert isinstance(request, Start)
        assert isinstance(request.source, RestoreImage)
        assert request.source.remove == str(managed_image(service))
        assert service.tree.events[-2:] == RESTORED


async def test_force_boot_drops_the_managed_save(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        write_image(managed_image(service), await service.xml())
        await service.start(FORCE_BOOT)
        assert not managed_image(service).exists()
        assert service.tree.events[-1] == (DomainEventType.STARTED, 0)


async def test_an_image_that_was_not_finished_is_dropped_at_a_start(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        write_image(managed_image(service), await service.xml(), complete=False)
        await service.start()
        assert not managed_image(service).exists()
        assert service.tree.events[-1] == (DomainEventType.STARTED, 0)


async def test_the_image_of_another_domain_is_refused_and_kept(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        write_image(managed_image(service), (await service.xml()).replace(">web<", ">mail<"))
        with pytest.raises(VirError, match=r"cannot restore domain 'web' uuid .* domain 'mail'"):
            await service.start()
        assert managed_image(service).exists()
        assert not await service.is_active()


async def test_a_restore_makes_a_transient_domain(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        write_image(tmp_path / "image", XML["qemu"])
        await service.call("domain_restore", str(tmp_path / "image"))
        assert await service.state() == DomainState.RUNNING
        assert service.tree.events[-2:] == RESTORED
        with pytest.raises(VirError, match="domain 'web' is already active"):
            await service.call("domain_restore", str(tmp_path / "image"))
        await service.destroy()
        with pytest.raises(VirError, match="Domain not found"):
            await service.state()


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"x", "failed to read qemu header"), (b"x" * 200, "image magic is incorrect")],
)
async def test_what_is_no_image_is_not_restored(tmp_path: Path, data: bytes, message: str) -> None:
    async with domd(tmp_path) as service:
        (tmp_path / "image").write_bytes(data)
        with pytest.raises(VirError, match=message) as refused:
            await service.call("domain_restore", str(tmp_path / "image"))
        assert refused.value.code is ErrorCode.OPERATION_FAILED


async def test_the_xml_of_an_image_is_changed_within_the_same_machine(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        image = str(tmp_path / "image")
        write_image(tmp_path / "image", XML["qemu"])
        xml = await service.call("domain_save_image_get_xml_desc", image, 0)
        titled = xml.replace("<memory", "<title>T</title><memory", 1)
        await service.call("domain_save_image_define_xml", image, titled, 4)
        assert "<title>T</title>" in await service.call("domain_save_image_get_xml_desc", image, 0)
        larger = xml.replace("65536", "131072")
        with pytest.raises(VirError, match="max memory 131072 does not match source 65536"):
            await service.call("domain_save_image_define_xml", image, larger, 0)
        await service.call("domain_restore", image)
        request = service.tree.worker.requests[-1]
        assert isinstance(request, Start)
        assert isinstance(request.source, RestoreImage)
        assert not request.source.was_running


async def test_a_hook_script_changes_what_is_restored(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        write_image(tmp_path / "image", XML["qemu"])
        hook = service.host.paths.hook("qemu")
        hook.parent.mkdir(parents=True, exist_ok=True)
        hook.write_text("#!/bin/sh\nsed 's:<memory:<title>hooked</title><memory:'\n")
        hook.chmod(0o755)
        await service.call("domain_restore", str(tmp_path / "image"))
        assert "<title>hooked</title>" in await service.xml()


async def test_a_domain_without_a_managed_save_has_no_xml_of_one(tmp_path: Path) -> None:
    async with domd(tmp_path) as service:
        await service.define()
        for name, arguments in (
            ("domain_managed_save_get_xml_desc", (0,)),
            ("domain_managed_save_define_xml", (XML["qemu"], 2)),
        ):
            with pytest.raises(VirError, match="does not have managed save image"):
                await service.call(name, DOM, *arguments)
