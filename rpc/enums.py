"""libvirt's public enumerations, each name without the prefix that its names share.

Owns: the facts of protocol/enums.json. Generated once from it; checked against it by a test.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class BlkioParameterType(IntEnum):
    """virBlkioParameterType."""

    INT = 1
    UINT = 2
    LLONG = 3
    ULLONG = 4
    DOUBLE = 5
    BOOLEAN = 6


class CPUCompareResult(IntEnum):
    """virCPUCompareResult."""

    ERROR = -1
    INCOMPATIBLE = 0
    IDENTICAL = 1
    SUPERSET = 2


class ConnectBaselineCPUFlags(IntFlag):
    """virConnectBaselineCPUFlags."""

    EXPAND_FEATURES = 1
    MIGRATABLE = 2


class ConnectCloseReason(IntEnum):
    """virConnectCloseReason."""

    ERROR = 0
    EOF = 1
    KEEPALIVE = 2
    CLIENT = 3


class ConnectCompareCPUFlags(IntFlag):
    """virConnectCompareCPUFlags."""

    FAIL_INCOMPATIBLE = 1
    VALIDATE_XML = 2


class ConnectCredentialType(IntEnum):
    """virConnectCredentialType."""

    USERNAME = 1
    AUTHNAME = 2
    LANGUAGE = 3
    CNONCE = 4
    PASSPHRASE = 5
    ECHOPROMPT = 6
    NOECHOPROMPT = 7
    REALM = 8
    EXTERNAL = 9


class ConnectDomainEventAgentLifecycleReason(IntEnum):
    """virConnectDomainEventAgentLifecycleReason."""

    UNKNOWN = 0
    DOMAIN_STARTED = 1
    CHANNEL = 2


class ConnectDomainEventAgentLifecycleState(IntEnum):
    """virConnectDomainEventAgentLifecycleState."""

    CONNECTED = 1
    DISCONNECTED = 2


class ConnectDomainEventBlockJobStatus(IntEnum):
    """virConnectDomainEventBlockJobStatus."""

    COMPLETED = 0
    FAILED = 1
    CANCELED = 2
    READY = 3


class ConnectDomainEventDiskChangeReason(IntEnum):
    """virConnectDomainEventDiskChangeReason."""

    CHANGE_MISSING_ON_START = 0
    DROP_MISSING_ON_START = 1


class ConnectDomainQemuMonitorEventRegisterFlags(IntFlag):
    """virConnectDomainQemuMonitorEventRegisterFlags."""

    REGEX = 1
    NOCASE = 2


class ConnectFlags(IntFlag):
    """virConnectFlags."""

    RO = 1
    NO_ALIASES = 2


class ConnectGetAllDomainStatsFlags(IntFlag):
    """virConnectGetAllDomainStatsFlags."""

    ACTIVE = 1
    INACTIVE = 2
    PERSISTENT = 4
    TRANSIENT = 8
    RUNNING = 0x10
    PAUSED = 0x20
    SHUTOFF = 0x40
    OTHER = 0x80
    NOWAIT = 0x20000000
    BACKING = 0x40000000
    ENFORCE_STATS = 0x80000000


class ConnectListAllDomainsFlags(IntFlag):
    """virConnectListAllDomainsFlags."""

    ACTIVE = 1
    INACTIVE = 2
    PERSISTENT = 4
    TRANSIENT = 8
    RUNNING = 0x10
    PAUSED = 0x20
    SHUTOFF = 0x40
    OTHER = 0x80
    MANAGEDSAVE = 0x100
    NO_MANAGEDSAVE = 0x200
    AUTOSTART = 0x400
    NO_AUTOSTART = 0x800
    HAS_SNAPSHOT = 0x1000
    NO_SNAPSHOT = 0x2000
    HAS_CHECKPOINT = 0x4000
    NO_CHECKPOINT = 0x8000


class ConnectListAllInterfacesFlags(IntFlag):
    """virConnectListAllInterfacesFlags."""

    INACTIVE = 1
    ACTIVE = 2


class ConnectListAllNetworksFlags(IntFlag):
    """virConnectListAllNetworksFlags."""

    INACTIVE = 1
    ACTIVE = 2
    PERSISTENT = 4
    TRANSIENT = 8
    AUTOSTART = 0x10
    NO_AUTOSTART = 0x20


class ConnectListAllNodeDeviceFlags(IntFlag):
    """virConnectListAllNodeDeviceFlags."""

    CAP_SYSTEM = 1
    CAP_PCI_DEV = 2
    CAP_USB_DEV = 4
    CAP_USB_INTERFACE = 8
    CAP_NET = 0x10
    CAP_SCSI_HOST = 0x20
    CAP_SCSI_TARGET = 0x40
    CAP_SCSI = 0x80
    CAP_STORAGE = 0x100
    CAP_FC_HOST = 0x200
    CAP_VPORTS = 0x400
    CAP_SCSI_GENERIC = 0x800
    CAP_DRM = 0x1000
    CAP_MDEV_TYPES = 0x2000
    CAP_MDEV = 0x4000
    CAP_CCW_DEV = 0x8000
    CAP_CSS_DEV = 0x10000
    CAP_VDPA = 0x20000
    CAP_AP_CARD = 0x40000
    CAP_AP_QUEUE = 0x80000
    CAP_AP_MATRIX = 0x100000
    CAP_VPD = 0x200000
    INACTIVE = 0x40000000
    ACTIVE = 0x80000000


class ConnectListAllSecretsFlags(IntFlag):
    """virConnectListAllSecretsFlags."""

    EPHEMERAL = 1
    NO_EPHEMERAL = 2
    PRIVATE = 4
    NO_PRIVATE = 8


class ConnectListAllStoragePoolsFlags(IntFlag):
    """virConnectListAllStoragePoolsFlags."""

    INACTIVE = 1
    ACTIVE = 2
    PERSISTENT = 4
    TRANSIENT = 8
    AUTOSTART = 0x10
    NO_AUTOSTART = 0x20
    DIR = 0x40
    FS = 0x80
    NETFS = 0x100
    LOGICAL = 0x200
    DISK = 0x400
    ISCSI = 0x800
    SCSI = 0x1000
    MPATH = 0x2000
    RBD = 0x4000
    SHEEPDOG = 0x8000
    GLUSTER = 0x10000
    ZFS = 0x20000
    VSTORAGE = 0x40000
    ISCSI_DIRECT = 0x80000


class DomainAbortJobFlagsValues(IntFlag):
    """virDomainAbortJobFlagsValues."""

    POSTCOPY = 1


class DomainAgentResponseTimeoutValues(IntEnum):
    """virDomainAgentResponseTimeoutValues."""

    BLOCK = -2
    DEFAULT = -1
    NOWAIT = 0


class DomainAuthorizedSSHKeysSetFlags(IntFlag):
    """virDomainAuthorizedSSHKeysSetFlags."""

    APPEND = 1
    REMOVE = 2


class DomainBackupBeginFlags(IntFlag):
    """virDomainBackupBeginFlags."""

    REUSE_EXTERNAL = 1


class DomainBlockCommitFlags(IntFlag):
    """virDomainBlockCommitFlags."""

    SHALLOW = 1
    DELETE = 2
    ACTIVE = 4
    RELATIVE = 8
    BANDWIDTH_BYTES = 0x10


class DomainBlockCopyFlags(IntFlag):
    """virDomainBlockCopyFlags."""

    SHALLOW = 1
    REUSE_EXT = 2
    TRANSIENT_JOB = 4
    SYNCHRONOUS_WRITES = 8


class DomainBlockJobAbortFlags(IntFlag):
    """virDomainBlockJobAbortFlags."""

    ASYNC = 1
    PIVOT = 2


class DomainBlockJobInfoFlags(IntFlag):
    """virDomainBlockJobInfoFlags."""

    BYTES = 1


class DomainBlockJobSetSpeedFlags(IntFlag):
    """virDomainBlockJobSetSpeedFlags."""

    BYTES = 1


class DomainBlockJobType(IntEnum):
    """virDomainBlockJobType."""

    UNKNOWN = 0
    PULL = 1
    COPY = 2
    COMMIT = 3
    ACTIVE_COMMIT = 4
    BACKUP = 5


class DomainBlockPullFlags(IntFlag):
    """virDomainBlockPullFlags."""

    BYTES = 0x40


class DomainBlockRebaseFlags(IntFlag):
    """virDomainBlockRebaseFlags."""

    SHALLOW = 1
    REUSE_EXT = 2
    COPY_RAW = 4
    COPY = 8
    RELATIVE = 0x10
    COPY_DEV = 0x20
    BANDWIDTH_BYTES = 0x40


class DomainBlockResizeFlags(IntFlag):
    """virDomainBlockResizeFlags."""

    BYTES = 1


class DomainBlockedReason(IntEnum):
    """virDomainBlockedReason."""

    UNKNOWN = 0


class DomainChannelFlags(IntFlag):
    """virDomainChannelFlags."""

    FORCE = 1


class DomainCheckpointCreateFlags(IntFlag):
    """virDomainCheckpointCreateFlags."""

    REDEFINE = 1
    QUIESCE = 2
    REDEFINE_VALIDATE = 4


class DomainCheckpointDeleteFlags(IntFlag):
    """virDomainCheckpointDeleteFlags."""

    CHILDREN = 1
    METADATA_ONLY = 2
    CHILDREN_ONLY = 4


class DomainCheckpointListFlags(IntFlag):
    """virDomainCheckpointListFlags."""

    ROOTS = 1
    DESCENDANTS = 1
    TOPOLOGICAL = 2
    LEAVES = 4
    NO_LEAVES = 8


class DomainCheckpointXMLFlags(IntFlag):
    """virDomainCheckpointXMLFlags."""

    SECURE = 1
    NO_DOMAIN = 2
    SIZE = 4


class DomainConsoleFlags(IntFlag):
    """virDomainConsoleFlags."""

    FORCE = 1
    SAFE = 2


class DomainControlErrorReason(IntEnum):
    """virDomainControlErrorReason."""

    NONE = 0
    UNKNOWN = 1
    MONITOR = 2
    INTERNAL = 3


class DomainControlState(IntEnum):
    """virDomainControlState."""

    OK = 0
    JOB = 1
    OCCUPIED = 2
    ERROR = 3


class DomainCoreDumpFlags(IntFlag):
    """virDomainCoreDumpFlags."""

    CRASH = 1
    LIVE = 2
    BYPASS_CACHE = 4
    RESET = 8
    MEMORY_ONLY = 0x10


class DomainCoreDumpFormat(IntEnum):
    """virDomainCoreDumpFormat."""

    RAW = 0
    KDUMP_ZLIB = 1
    KDUMP_LZO = 2
    KDUMP_SNAPPY = 3
    WIN_DMP = 4


class DomainCrashedReason(IntEnum):
    """virDomainCrashedReason."""

    UNKNOWN = 0
    PANICKED = 1


class DomainCreateFlags(IntFlag):
    """virDomainCreateFlags."""

    NONE = 0
    START_PAUSED = 1
    START_AUTODESTROY = 2
    START_BYPASS_CACHE = 4
    START_FORCE_BOOT = 8
    START_VALIDATE = 0x10
    START_RESET_NVRAM = 0x20


class DomainDefineFlags(IntFlag):
    """virDomainDefineFlags."""

    VALIDATE = 1


class DomainDestroyFlagsValues(IntFlag):
    """virDomainDestroyFlagsValues."""

    DEFAULT = 0
    GRACEFUL = 1
    REMOVE_LOGS = 2


class DomainDeviceModifyFlags(IntFlag):
    """virDomainDeviceModifyFlags."""

    CURRENT = 0
    LIVE = 1
    CONFIG = 2
    FORCE = 4


class DomainDirtyRateCalcFlags(IntFlag):
    """virDomainDirtyRateCalcFlags."""

    PAGE_SAMPLING = 0
    DIRTY_BITMAP = 1
    DIRTY_RING = 2


class DomainDirtyRateStatus(IntEnum):
    """virDomainDirtyRateStatus."""

    UNSTARTED = 0
    MEASURING = 1
    MEASURED = 2


class DomainDiskErrorCode(IntEnum):
    """virDomainDiskErrorCode."""

    NONE = 0
    UNSPEC = 1
    NO_SPACE = 2


class DomainEventCrashedDetailType(IntEnum):
    """virDomainEventCrashedDetailType."""

    PANICKED = 0
    CRASHLOADED = 1


class DomainEventDefinedDetailType(IntEnum):
    """virDomainEventDefinedDetailType."""

    ADDED = 0
    UPDATED = 1
    RENAMED = 2
    FROM_SNAPSHOT = 3


class DomainEventGraphicsAddressType(IntEnum):
    """virDomainEventGraphicsAddressType."""

    IPV4 = 0
    IPV6 = 1
    UNIX = 2


class DomainEventGraphicsPhase(IntEnum):
    """virDomainEventGraphicsPhase."""

    CONNECT = 0
    INITIALIZE = 1
    DISCONNECT = 2


class DomainEventID(IntEnum):
    """virDomainEventID."""

    LIFECYCLE = 0
    REBOOT = 1
    RTC_CHANGE = 2
    WATCHDOG = 3
    IO_ERROR = 4
    GRAPHICS = 5
    IO_ERROR_REASON = 6
    CONTROL_ERROR = 7
    BLOCK_JOB = 8
    DISK_CHANGE = 9
    TRAY_CHANGE = 10
    PMWAKEUP = 11
    PMSUSPEND = 12
    BALLOON_CHANGE = 13
    PMSUSPEND_DISK = 14
    DEVICE_REMOVED = 15
    BLOCK_JOB_2 = 16
    TUNABLE = 17
    AGENT_LIFECYCLE = 18
    DEVICE_ADDED = 19
    MIGRATION_ITERATION = 20
    JOB_COMPLETED = 21
    DEVICE_REMOVAL_FAILED = 22
    METADATA_CHANGE = 23
    BLOCK_THRESHOLD = 24
    MEMORY_FAILURE = 25
    MEMORY_DEVICE_SIZE_CHANGE = 26


class DomainEventIOErrorAction(IntEnum):
    """virDomainEventIOErrorAction."""

    NONE = 0
    PAUSE = 1
    REPORT = 2


class DomainEventPMSuspendedDetailType(IntEnum):
    """virDomainEventPMSuspendedDetailType."""

    MEMORY = 0
    DISK = 1


class DomainEventResumedDetailType(IntEnum):
    """virDomainEventResumedDetailType."""

    UNPAUSED = 0
    MIGRATED = 1
    FROM_SNAPSHOT = 2
    POSTCOPY = 3
    POSTCOPY_FAILED = 4


class DomainEventShutdownDetailType(IntEnum):
    """virDomainEventShutdownDetailType."""

    FINISHED = 0
    GUEST = 1
    HOST = 2


class DomainEventStartedDetailType(IntEnum):
    """virDomainEventStartedDetailType."""

    BOOTED = 0
    MIGRATED = 1
    RESTORED = 2
    FROM_SNAPSHOT = 3
    WAKEUP = 4


class DomainEventStoppedDetailType(IntEnum):
    """virDomainEventStoppedDetailType."""

    SHUTDOWN = 0
    DESTROYED = 1
    CRASHED = 2
    MIGRATED = 3
    SAVED = 4
    FAILED = 5
    FROM_SNAPSHOT = 6


class DomainEventSuspendedDetailType(IntEnum):
    """virDomainEventSuspendedDetailType."""

    PAUSED = 0
    MIGRATED = 1
    IOERROR = 2
    WATCHDOG = 3
    RESTORED = 4
    FROM_SNAPSHOT = 5
    API_ERROR = 6
    POSTCOPY = 7
    POSTCOPY_FAILED = 8


class DomainEventTrayChangeReason(IntEnum):
    """virDomainEventTrayChangeReason."""

    OPEN = 0
    CLOSE = 1


class DomainEventType(IntEnum):
    """virDomainEventType."""

    DEFINED = 0
    UNDEFINED = 1
    STARTED = 2
    SUSPENDED = 3
    RESUMED = 4
    STOPPED = 5
    SHUTDOWN = 6
    PMSUSPENDED = 7
    CRASHED = 8


class DomainEventUndefinedDetailType(IntEnum):
    """virDomainEventUndefinedDetailType."""

    REMOVED = 0
    RENAMED = 1


class DomainEventWatchdogAction(IntEnum):
    """virDomainEventWatchdogAction."""

    NONE = 0
    PAUSE = 1
    RESET = 2
    POWEROFF = 3
    SHUTDOWN = 4
    DEBUG = 5
    INJECTNMI = 6


class DomainFDAssociateFlags(IntFlag):
    """virDomainFDAssociateFlags."""

    RESTORE = 1
    WRITABLE = 2


class DomainGetHostnameFlags(IntFlag):
    """virDomainGetHostnameFlags."""

    LEASE = 1
    AGENT = 2


class DomainGetJobStatsFlags(IntFlag):
    """virDomainGetJobStatsFlags."""

    COMPLETED = 1
    KEEP_COMPLETED = 2


class DomainGuestInfoTypes(IntEnum):
    """virDomainGuestInfoTypes."""

    USERS = 1
    OS = 2
    TIMEZONE = 4
    HOSTNAME = 8
    FILESYSTEM = 16
    DISKS = 32
    INTERFACES = 64


class DomainInterfaceAddressesSource(IntEnum):
    """virDomainInterfaceAddressesSource."""

    LEASE = 0
    AGENT = 1
    ARP = 2


class DomainJobOperation(IntEnum):
    """virDomainJobOperation."""

    UNKNOWN = 0
    START = 1
    SAVE = 2
    RESTORE = 3
    MIGRATION_IN = 4
    MIGRATION_OUT = 5
    SNAPSHOT = 6
    SNAPSHOT_REVERT = 7
    DUMP = 8
    BACKUP = 9
    SNAPSHOT_DELETE = 10


class DomainJobType(IntEnum):
    """virDomainJobType."""

    NONE = 0
    BOUNDED = 1
    UNBOUNDED = 2
    COMPLETED = 3
    FAILED = 4
    CANCELLED = 5


class DomainLifecycle(IntEnum):
    """virDomainLifecycle."""

    POWEROFF = 0
    REBOOT = 1
    CRASH = 2


class DomainLifecycleAction(IntEnum):
    """virDomainLifecycleAction."""

    DESTROY = 0
    RESTART = 1
    RESTART_RENAME = 2
    PRESERVE = 3
    COREDUMP_DESTROY = 4
    COREDUMP_RESTART = 5


class DomainMemoryFailureActionType(IntEnum):
    """virDomainMemoryFailureActionType."""

    IGNORE = 0
    INJECT = 1
    FATAL = 2
    RESET = 3


class DomainMemoryFailureFlags(IntFlag):
    """virDomainMemoryFailureFlags."""

    ACTION_REQUIRED = 1
    RECURSIVE = 2


class DomainMemoryFailureRecipientType(IntEnum):
    """virDomainMemoryFailureRecipientType."""

    HYPERVISOR = 0
    GUEST = 1


class DomainMemoryFlags(IntFlag):
    """virDomainMemoryFlags."""

    VIRTUAL = 1
    PHYSICAL = 2


class DomainMemoryModFlags(IntFlag):
    """virDomainMemoryModFlags."""

    CURRENT = 0
    LIVE = 1
    CONFIG = 2
    MAXIMUM = 4


class DomainMemoryStatTags(IntEnum):
    """virDomainMemoryStatTags."""

    SWAP_IN = 0
    SWAP_OUT = 1
    MAJOR_FAULT = 2
    MINOR_FAULT = 3
    UNUSED = 4
    AVAILABLE = 5
    ACTUAL_BALLOON = 6
    RSS = 7
    USABLE = 8
    LAST_UPDATE = 9
    DISK_CACHES = 10
    HUGETLB_PGALLOC = 11
    HUGETLB_PGFAIL = 12
    NR = 13


class DomainMessageType(IntEnum):
    """virDomainMessageType."""

    DEPRECATION = 1
    TAINTING = 2


class DomainMetadataType(IntEnum):
    """virDomainMetadataType."""

    DESCRIPTION = 0
    TITLE = 1
    ELEMENT = 2


class DomainMigrateFlags(IntFlag):
    """virDomainMigrateFlags."""

    LIVE = 1
    PEER2PEER = 2
    TUNNELLED = 4
    PERSIST_DEST = 8
    UNDEFINE_SOURCE = 0x10
    PAUSED = 0x20
    NON_SHARED_DISK = 0x40
    NON_SHARED_INC = 0x80
    CHANGE_PROTECTION = 0x100
    UNSAFE = 0x200
    OFFLINE = 0x400
    COMPRESSED = 0x800
    ABORT_ON_ERROR = 0x1000
    AUTO_CONVERGE = 0x2000
    RDMA_PIN_ALL = 0x4000
    POSTCOPY = 0x8000
    TLS = 0x10000
    PARALLEL = 0x20000
    NON_SHARED_SYNCHRONOUS_WRITES = 0x40000
    POSTCOPY_RESUME = 0x80000
    ZEROCOPY = 0x100000


class DomainMigrateMaxSpeedFlags(IntFlag):
    """virDomainMigrateMaxSpeedFlags."""

    POSTCOPY = 1


class DomainModificationImpact(IntFlag):
    """virDomainModificationImpact."""

    CURRENT = 0
    LIVE = 1
    CONFIG = 2


class DomainNostateReason(IntEnum):
    """virDomainNostateReason."""

    UNKNOWN = 0


class DomainNumatuneMemMode(IntEnum):
    """virDomainNumatuneMemMode."""

    STRICT = 0
    PREFERRED = 1
    INTERLEAVE = 2
    RESTRICTIVE = 3


class DomainOpenGraphicsFlags(IntFlag):
    """virDomainOpenGraphicsFlags."""

    SKIPAUTH = 1


class DomainPMSuspendedDiskReason(IntEnum):
    """virDomainPMSuspendedDiskReason."""

    UNKNOWN = 0


class DomainPMSuspendedReason(IntEnum):
    """virDomainPMSuspendedReason."""

    UNKNOWN = 0


class DomainPausedReason(IntEnum):
    """virDomainPausedReason."""

    UNKNOWN = 0
    USER = 1
    MIGRATION = 2
    SAVE = 3
    DUMP = 4
    IOERROR = 5
    WATCHDOG = 6
    FROM_SNAPSHOT = 7
    SHUTTING_DOWN = 8
    SNAPSHOT = 9
    CRASHED = 10
    STARTING_UP = 11
    POSTCOPY = 12
    POSTCOPY_FAILED = 13


class DomainProcessSignal(IntEnum):
    """virDomainProcessSignal."""

    NOP = 0
    HUP = 1
    INT = 2
    QUIT = 3
    ILL = 4
    TRAP = 5
    ABRT = 6
    BUS = 7
    FPE = 8
    KILL = 9
    USR1 = 10
    SEGV = 11
    USR2 = 12
    PIPE = 13
    ALRM = 14
    TERM = 15
    STKFLT = 16
    CHLD = 17
    CONT = 18
    STOP = 19
    TSTP = 20
    TTIN = 21
    TTOU = 22
    URG = 23
    XCPU = 24
    XFSZ = 25
    VTALRM = 26
    PROF = 27
    WINCH = 28
    POLL = 29
    PWR = 30
    SYS = 31
    RT0 = 32
    RT1 = 33
    RT2 = 34
    RT3 = 35
    RT4 = 36
    RT5 = 37
    RT6 = 38
    RT7 = 39
    RT8 = 40
    RT9 = 41
    RT10 = 42
    RT11 = 43
    RT12 = 44
    RT13 = 45
    RT14 = 46
    RT15 = 47
    RT16 = 48
    RT17 = 49
    RT18 = 50
    RT19 = 51
    RT20 = 52
    RT21 = 53
    RT22 = 54
    RT23 = 55
    RT24 = 56
    RT25 = 57
    RT26 = 58
    RT27 = 59
    RT28 = 60
    RT29 = 61
    RT30 = 62
    RT31 = 63
    RT32 = 64


class DomainQemuAgentCommandTimeoutValues(IntEnum):
    """virDomainQemuAgentCommandTimeoutValues."""

    MIN = -2
    BLOCK = -2
    DEFAULT = -1
    NOWAIT = 0
    SHUTDOWN = 60


class DomainQemuMonitorCommandFlags(IntFlag):
    """virDomainQemuMonitorCommandFlags."""

    DEFAULT = 0
    HMP = 1


class DomainRebootFlagValues(IntFlag):
    """virDomainRebootFlagValues."""

    DEFAULT = 0
    ACPI_POWER_BTN = 1
    GUEST_AGENT = 2
    INITCTL = 4
    SIGNAL = 8
    PARAVIRT = 0x10


class DomainRunningReason(IntEnum):
    """virDomainRunningReason."""

    UNKNOWN = 0
    BOOTED = 1
    MIGRATED = 2
    RESTORED = 3
    FROM_SNAPSHOT = 4
    UNPAUSED = 5
    MIGRATION_CANCELED = 6
    SAVE_CANCELED = 7
    WAKEUP = 8
    CRASHED = 9
    POSTCOPY = 10
    POSTCOPY_FAILED = 11


class DomainSaveImageXMLFlags(IntFlag):
    """virDomainSaveImageXMLFlags."""

    SECURE = 1


class DomainSaveRestoreFlags(IntFlag):
    """virDomainSaveRestoreFlags."""

    BYPASS_CACHE = 1
    RUNNING = 2
    PAUSED = 4
    RESET_NVRAM = 8


class DomainSetTimeFlags(IntFlag):
    """virDomainSetTimeFlags."""

    SYNC = 1


class DomainSetUserPasswordFlags(IntFlag):
    """virDomainSetUserPasswordFlags."""

    ENCRYPTED = 1


class DomainShutdownFlagValues(IntFlag):
    """virDomainShutdownFlagValues."""

    DEFAULT = 0
    ACPI_POWER_BTN = 1
    GUEST_AGENT = 2
    INITCTL = 4
    SIGNAL = 8
    PARAVIRT = 0x10


class DomainShutdownReason(IntEnum):
    """virDomainShutdownReason."""

    UNKNOWN = 0
    USER = 1


class DomainShutoffReason(IntEnum):
    """virDomainShutoffReason."""

    UNKNOWN = 0
    SHUTDOWN = 1
    DESTROYED = 2
    CRASHED = 3
    MIGRATED = 4
    SAVED = 5
    FAILED = 6
    FROM_SNAPSHOT = 7
    DAEMON = 8


class DomainSnapshotCreateFlags(IntFlag):
    """virDomainSnapshotCreateFlags."""

    REDEFINE = 1
    CURRENT = 2
    NO_METADATA = 4
    HALT = 8
    DISK_ONLY = 0x10
    REUSE_EXT = 0x20
    QUIESCE = 0x40
    ATOMIC = 0x80
    LIVE = 0x100
    VALIDATE = 0x200


class DomainSnapshotDeleteFlags(IntFlag):
    """virDomainSnapshotDeleteFlags."""

    CHILDREN = 1
    METADATA_ONLY = 2
    CHILDREN_ONLY = 4


class DomainSnapshotListFlags(IntFlag):
    """virDomainSnapshotListFlags."""

    ROOTS = 1
    DESCENDANTS = 1
    LEAVES = 4
    NO_LEAVES = 8
    METADATA = 2
    NO_METADATA = 0x10
    INACTIVE = 0x20
    ACTIVE = 0x40
    DISK_ONLY = 0x80
    INTERNAL = 0x100
    EXTERNAL = 0x200
    TOPOLOGICAL = 0x400


class DomainSnapshotRevertFlags(IntFlag):
    """virDomainSnapshotRevertFlags."""

    RUNNING = 1
    PAUSED = 2
    FORCE = 4
    RESET_NVRAM = 8


class DomainSnapshotXMLFlags(IntFlag):
    """virDomainSnapshotXMLFlags."""

    SECURE = 1


class DomainState(IntEnum):
    """virDomainState."""

    NOSTATE = 0
    RUNNING = 1
    BLOCKED = 2
    PAUSED = 3
    SHUTDOWN = 4
    SHUTOFF = 5
    CRASHED = 6
    PMSUSPENDED = 7


class DomainStatsTypes(IntFlag):
    """virDomainStatsTypes."""

    STATE = 1
    CPU_TOTAL = 2
    BALLOON = 4
    VCPU = 8
    INTERFACE = 0x10
    BLOCK = 0x20
    PERF = 0x40
    IOTHREAD = 0x80
    MEMORY = 0x100
    DIRTYRATE = 0x200
    VM = 0x400


class DomainUndefineFlagsValues(IntFlag):
    """virDomainUndefineFlagsValues."""

    MANAGED_SAVE = 1
    SNAPSHOTS_METADATA = 2
    NVRAM = 4
    KEEP_NVRAM = 8
    CHECKPOINTS_METADATA = 0x10
    TPM = 0x20
    KEEP_TPM = 0x40


class DomainVcpuFlags(IntFlag):
    """virDomainVcpuFlags."""

    CURRENT = 0
    LIVE = 1
    CONFIG = 2
    MAXIMUM = 4
    GUEST = 8
    HOTPLUGGABLE = 0x10


class DomainXMLFlags(IntFlag):
    """virDomainXMLFlags."""

    SECURE = 1
    INACTIVE = 2
    UPDATE_CPU = 4
    MIGRATABLE = 8


class ErrorLevel(IntEnum):
    """virErrorLevel."""

    NONE = 0
    WARNING = 1
    ERROR = 2


class EventHandleType(IntEnum):
    """virEventHandleType."""

    READABLE = 1
    WRITABLE = 2
    ERROR = 4
    HANGUP = 8


class IPAddrType(IntEnum):
    """virIPAddrType."""

    IPV4 = 0
    IPV6 = 1


class InterfaceDefineFlags(IntFlag):
    """virInterfaceDefineFlags."""

    VALIDATE = 1


class InterfaceXMLFlags(IntFlag):
    """virInterfaceXMLFlags."""

    INACTIVE = 1


class KeycodeSet(IntEnum):
    """virKeycodeSet."""

    LINUX = 0
    XT = 1
    ATSET1 = 2
    ATSET2 = 3
    ATSET3 = 4
    OSX = 5
    XT_KBD = 6
    USB = 7
    WIN32 = 8
    QNUM = 9


class MemoryParameterType(IntEnum):
    """virMemoryParameterType."""

    INT = 1
    UINT = 2
    LLONG = 3
    ULLONG = 4
    DOUBLE = 5
    BOOLEAN = 6


class NWFilterBindingCreateFlags(IntFlag):
    """virNWFilterBindingCreateFlags."""

    VALIDATE = 1


class NWFilterDefineFlags(IntFlag):
    """virNWFilterDefineFlags."""

    VALIDATE = 1


class NetworkCreateFlags(IntFlag):
    """virNetworkCreateFlags."""

    VALIDATE = 1


class NetworkDefineFlags(IntFlag):
    """virNetworkDefineFlags."""

    VALIDATE = 1


class NetworkEventID(IntEnum):
    """virNetworkEventID."""

    LIFECYCLE = 0


class NetworkEventLifecycleType(IntEnum):
    """virNetworkEventLifecycleType."""

    DEFINED = 0
    UNDEFINED = 1
    STARTED = 2
    STOPPED = 3


class NetworkPortCreateFlags(IntFlag):
    """virNetworkPortCreateFlags."""

    RECLAIM = 1
    VALIDATE = 2


class NetworkUpdateCommand(IntEnum):
    """virNetworkUpdateCommand."""

    NONE = 0
    MODIFY = 1
    DELETE = 2
    ADD_LAST = 3
    ADD_FIRST = 4


class NetworkUpdateFlags(IntFlag):
    """virNetworkUpdateFlags."""

    CURRENT = 0
    LIVE = 1
    CONFIG = 2


class NetworkUpdateSection(IntEnum):
    """virNetworkUpdateSection."""

    NONE = 0
    BRIDGE = 1
    DOMAIN = 2
    IP = 3
    IP_DHCP_HOST = 4
    IP_DHCP_RANGE = 5
    FORWARD = 6
    FORWARD_INTERFACE = 7
    FORWARD_PF = 8
    PORTGROUP = 9
    DNS_HOST = 10
    DNS_TXT = 11
    DNS_SRV = 12


class NetworkXMLFlags(IntFlag):
    """virNetworkXMLFlags."""

    INACTIVE = 1


class NodeAllocPagesFlags(IntFlag):
    """virNodeAllocPagesFlags."""

    ADD = 0
    SET = 1


class NodeDeviceCreateXMLFlags(IntFlag):
    """virNodeDeviceCreateXMLFlags."""

    VALIDATE = 1


class NodeDeviceDefineXMLFlags(IntFlag):
    """virNodeDeviceDefineXMLFlags."""

    VALIDATE = 1


class NodeDeviceEventID(IntEnum):
    """virNodeDeviceEventID."""

    LIFECYCLE = 0
    UPDATE = 1


class NodeDeviceEventLifecycleType(IntEnum):
    """virNodeDeviceEventLifecycleType."""

    CREATED = 0
    DELETED = 1
    DEFINED = 2
    UNDEFINED = 3


class NodeGetCPUStatsAllCPUs(IntEnum):
    """virNodeGetCPUStatsAllCPUs."""

    CPUS = -1


class NodeGetMemoryStatsAllCells(IntEnum):
    """virNodeGetMemoryStatsAllCells."""

    CELLS = -1


class NodeSuspendTarget(IntEnum):
    """virNodeSuspendTarget."""

    MEM = 0
    DISK = 1
    HYBRID = 2


class SchedParameterType(IntEnum):
    """virSchedParameterType."""

    INT = 1
    UINT = 2
    LLONG = 3
    ULLONG = 4
    DOUBLE = 5
    BOOLEAN = 6


class SecretDefineFlags(IntFlag):
    """virSecretDefineFlags."""

    VALIDATE = 1


class SecretEventID(IntEnum):
    """virSecretEventID."""

    LIFECYCLE = 0
    VALUE_CHANGED = 1


class SecretEventLifecycleType(IntEnum):
    """virSecretEventLifecycleType."""

    DEFINED = 0
    UNDEFINED = 1


class SecretUsageType(IntEnum):
    """virSecretUsageType."""

    NONE = 0
    VOLUME = 1
    CEPH = 2
    ISCSI = 3
    TLS = 4
    VTPM = 5


class StoragePoolBuildFlags(IntFlag):
    """virStoragePoolBuildFlags."""

    NEW = 0
    REPAIR = 1
    RESIZE = 2
    NO_OVERWRITE = 4
    OVERWRITE = 8


class StoragePoolCreateFlags(IntFlag):
    """virStoragePoolCreateFlags."""

    NORMAL = 0
    WITH_BUILD = 1
    WITH_BUILD_OVERWRITE = 2
    WITH_BUILD_NO_OVERWRITE = 4


class StoragePoolDefineFlags(IntFlag):
    """virStoragePoolDefineFlags."""

    VALIDATE = 1


class StoragePoolDeleteFlags(IntFlag):
    """virStoragePoolDeleteFlags."""

    NORMAL = 0
    ZEROED = 1


class StoragePoolEventID(IntEnum):
    """virStoragePoolEventID."""

    LIFECYCLE = 0
    REFRESH = 1


class StoragePoolEventLifecycleType(IntEnum):
    """virStoragePoolEventLifecycleType."""

    DEFINED = 0
    UNDEFINED = 1
    STARTED = 2
    STOPPED = 3
    CREATED = 4
    DELETED = 5


class StoragePoolState(IntEnum):
    """virStoragePoolState."""

    INACTIVE = 0
    BUILDING = 1
    RUNNING = 2
    DEGRADED = 3
    INACCESSIBLE = 4


class StorageVolCreateFlags(IntFlag):
    """virStorageVolCreateFlags."""

    PREALLOC_METADATA = 1
    REFLINK = 2
    VALIDATE = 4


class StorageVolDeleteFlags(IntFlag):
    """virStorageVolDeleteFlags."""

    NORMAL = 0
    ZEROED = 1
    WITH_SNAPSHOTS = 2


class StorageVolDownloadFlags(IntFlag):
    """virStorageVolDownloadFlags."""

    STREAM = 1


class StorageVolInfoFlags(IntFlag):
    """virStorageVolInfoFlags."""

    USE_ALLOCATION = 0
    GET_PHYSICAL = 1


class StorageVolResizeFlags(IntFlag):
    """virStorageVolResizeFlags."""

    ALLOCATE = 1
    DELTA = 2
    SHRINK = 4


class StorageVolType(IntEnum):
    """virStorageVolType."""

    FILE = 0
    BLOCK = 1
    DIR = 2
    NETWORK = 3
    NETDIR = 4
    PLOOP = 5


class StorageVolUploadFlags(IntFlag):
    """virStorageVolUploadFlags."""

    STREAM = 1


class StorageVolWipeAlgorithm(IntEnum):
    """virStorageVolWipeAlgorithm."""

    ZERO = 0
    NNSA = 1
    DOD = 2
    BSI = 3
    GUTMANN = 4
    SCHNEIER = 5
    PFITZNER7 = 6
    PFITZNER33 = 7
    RANDOM = 8
    TRIM = 9


class StorageXMLFlags(IntFlag):
    """virStorageXMLFlags."""

    INACTIVE = 1


class StreamEventType(IntEnum):
    """virStreamEventType."""

    READABLE = 1
    WRITABLE = 2
    ERROR = 4
    HANGUP = 8


class StreamFlags(IntFlag):
    """virStreamFlags."""

    NONBLOCK = 1


class StreamRecvFlagsValues(IntFlag):
    """virStreamRecvFlagsValues."""

    HOLE = 1


class TypedParameterFlags(IntFlag):
    """virTypedParameterFlags."""

    OKAY = 4


class TypedParameterType(IntEnum):
    """virTypedParameterType."""

    INT = 1
    UINT = 2
    LLONG = 3
    ULLONG = 4
    DOUBLE = 5
    BOOLEAN = 6
    STRING = 7


class VcpuHostCpuState(IntEnum):
    """virVcpuHostCpuState."""

    OFFLINE = -1
    UNAVAILABLE = -2


class VcpuState(IntEnum):
    """virVcpuState."""

    OFFLINE = 0
    RUNNING = 1
    BLOCKED = 2
