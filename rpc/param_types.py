"""The type of each typed parameter's field; `N` in a name is any number.

Owns: the facts of protocol/typed_params.json and stats_fields.json, the admin program's apart.
Generated once from them; checked against them by a test.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import TypedParameterType as ParamType

_NAMES: Final = {
    ParamType.INT: """
        auto_converge.increment auto_converge.initial auto_converge_throttle
        compression.mt.dthreads compression.mt.level compression.mt.threads dirtyrate.calc_period
        dirtyrate.calc_status disks_port numa_mode operation parallel.connections shares
        state.reason state.state thread_pool_max thread_pool_min timezone.offset vcpu.N.state
    """,
    ParamType.UINT: """
        block.N.backingIndex block.count cap cbitpos cpu.cache.monitor.N.bank.N.bytes
        cpu.cache.monitor.N.bank.N.id cpu.cache.monitor.N.bank.count cpu.cache.monitor.count
        disk.N.dependency.count disk.count fs.N.disk.count fs.count granularity if.N.addr.N.prefix
        if.N.addr.count if.count inbound.average inbound.burst inbound.floor inbound.peak
        iothread.N.poll-grow iothread.N.poll-shrink iothread.count max-es-guests max-guests
        memory.bandwidth.monitor.N.node.N.id memory.bandwidth.monitor.N.node.count
        memory.bandwidth.monitor.count net.count outbound.average outbound.burst outbound.peak
        poll_grow poll_shrink reduced-phys-bits sev-api-major sev-api-minor sev-build-id
        sev-policy shm_merge_across_nodes shm_pages_to_scan shm_sleep_millisecs user.count
        vcpu.current vcpu.maximum weight
    """,
    ParamType.LLONG: """
        cputune.emulator_quota cputune.global_quota cputune.iothread_quota cputune.vcpu_quota
        dirtyrate.calc_start_time dirtyrate.megabytes_per_second emulator_quota errs
        flush_operations flush_total_times global_quota iothread_quota limit process-id rd_bytes
        rd_operations rd_total_times reservation vcpu_quota wr_bytes wr_operations wr_total_times
    """,
    ParamType.ULLONG: """
        balloon.available balloon.current balloon.disk_caches balloon.hugetlb_pgalloc
        balloon.hugetlb_pgfail balloon.last-update balloon.major_fault balloon.maximum
        balloon.minor_fault balloon.rss balloon.swap_in balloon.swap_out balloon.unused
        balloon.usable bandwidth bandwidth.postcopy blkdeviotune.read_bytes_sec
        blkdeviotune.read_bytes_sec_max blkdeviotune.read_bytes_sec_max_length
        blkdeviotune.read_iops_sec blkdeviotune.read_iops_sec_max
        blkdeviotune.read_iops_sec_max_length blkdeviotune.size_iops_sec
        blkdeviotune.total_bytes_sec blkdeviotune.total_bytes_sec_max
        blkdeviotune.total_bytes_sec_max_length blkdeviotune.total_iops_sec
        blkdeviotune.total_iops_sec_max blkdeviotune.total_iops_sec_max_length
        blkdeviotune.write_bytes_sec blkdeviotune.write_bytes_sec_max
        blkdeviotune.write_bytes_sec_max_length blkdeviotune.write_iops_sec
        blkdeviotune.write_iops_sec_max blkdeviotune.write_iops_sec_max_length block.N.allocation
        block.N.capacity block.N.fl.reqs block.N.fl.times block.N.physical block.N.rd.bytes
        block.N.rd.reqs block.N.rd.times block.N.threshold block.N.wr.bytes block.N.wr.reqs
        block.N.wr.times buf-size compression.xbzrle.cache compression_bytes compression_cache
        compression_cache_misses compression_overflow compression_pages cpu.haltpoll.fail.time
        cpu.haltpoll.success.time cpu.system cpu.time cpu.user cpu_shares cpu_time
        cputune.cpu_shares cputune.emulator_period cputune.global_period cputune.iothread_period
        cputune.vcpu_period data_processed data_remaining data_total
        dirtyrate.vcpu.N.megabytes_per_second disk_bps disk_processed disk_remaining
        disk_temp_total disk_temp_used disk_total downtime downtime_net emulator_period
        fs.N.total-bytes fs.N.used-bytes global_period hard_limit iothread.N.poll-max-ns
        iothread_period memory.bandwidth.monitor.N.node.N.bytes.local
        memory.bandwidth.monitor.N.node.N.bytes.total memory_bps memory_constant memory_dirty_rate
        memory_iteration memory_normal memory_normal_bytes memory_page_size
        memory_postcopy_requests memory_processed memory_remaining memory_total min_guarantee
        net.N.rx.bytes net.N.rx.drop net.N.rx.errs net.N.rx.pkts net.N.tx.bytes net.N.tx.drop
        net.N.tx.errs net.N.tx.pkts perf.alignment_faults perf.branch_instructions
        perf.branch_misses perf.bus_cycles perf.cache_misses perf.cache_references perf.cmt
        perf.context_switches perf.cpu_clock perf.cpu_cycles perf.cpu_migrations
        perf.emulation_faults perf.instructions perf.mbml perf.mbmt perf.page_faults
        perf.page_faults_maj perf.page_faults_min perf.ref_cpu_cycles perf.stalled_cycles_backend
        perf.stalled_cycles_frontend perf.task_clock poll_max_ns process-time read_bytes_sec
        read_bytes_sec_max read_bytes_sec_max_length read_iops_sec read_iops_sec_max
        read_iops_sec_max_length setup_time sev-secret-set-address shm_full_scans shm_pages_shared
        shm_pages_sharing shm_pages_unshared shm_pages_volatile size_iops_sec soft_limit
        swap_hard_limit system_time time_elapsed time_elapsed_net time_remaining total_bytes_sec
        total_bytes_sec_max total_bytes_sec_max_length total_iops_sec total_iops_sec_max
        total_iops_sec_max_length unix-group-id unix-user-id user.N.login-time user_time
        vcpu.N.delay vcpu.N.time vcpu.N.wait vcpu_period vcpu_time write_bytes_sec
        write_bytes_sec_max write_bytes_sec_max_length write_iops_sec write_iops_sec_max
        write_iops_sec_max_length
    """,
    ParamType.BOOLEAN: """
        alignment_faults branch_instructions branch_misses bus_cycles cache_misses
        cache_references cmt context_switches cpu_clock cpu_cycles cpu_migrations disk.N.partition
        emulation_faults instructions mbml mbmt page_faults page_faults_maj page_faults_min
        ref_cpu_cycles stalled_cycles_backend stalled_cycles_frontend success task_clock
        vcpu.N.halted
    """,
    ParamType.STRING: """
        blkdeviotune.disk blkdeviotune.group_name block.N.name block.N.path cert-chain compression
        cpu.cache.monitor.N.name cpu.cache.monitor.N.vcpus cpu0-id cputune.emulatorpin
        cputune.iothreadpin%u cputune.vcpupin%u destination_name destination_xml
        device_read_bytes_sec device_read_iops_sec device_weight device_write_bytes_sec
        device_write_iops_sec dirtyrate.calc_mode disk.N.alias disk.N.dependency.N.name
        disk.N.guest_alias disk.N.name disk.N.serial disks_uri dxml errmsg file fs.N.disk.N.alias
        fs.N.disk.N.device fs.N.disk.N.serial fs.N.fstype fs.N.mountpoint fs.N.name graphics_uri
        group-name group_name hostname if.N.addr.N.addr if.N.addr.N.type if.N.hwaddr if.N.name
        listen_address memory.bandwidth.monitor.N.name memory.bandwidth.monitor.N.vcpus
        migrate_disks migrate_uri net.N.name numa_nodeset os.id os.kernel-release
        os.kernel-version os.machine os.name os.pretty-name os.variant os.variant-id os.version
        os.version-id pdh persistent_xml sasl-user-name selinux-context sev-measurement sev-secret
        sev-secret-header timezone.name tls.destination user-name user.N.domain user.N.name
        x509-distinguished-name
    """,
}

FIELDS: Final = {name: kind for kind, names in _NAMES.items() for name in names.split()}
