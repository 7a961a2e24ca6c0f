# Words of all steps. A step prints a line for what it looked at, and ends with 1 where one is WRONG.
cd /tmp
wrong=0
export LIBVIRT_DEFAULT_URI=qemu:///system
DISKS=/var/lib/libvirt/images

ok() { echo "ok: $*"; }
no() { echo "WRONG: $*"; wrong=1; }
check() { what=$1; shift; if "$@" >/tmp/said 2>&1; then ok "$what"; else no "$what: $(tail -n 3 /tmp/said)"; fi; }
refused() { # refused WHAT WORDS COMMAND...: it fails, and says the words
    what=$1 words=$2
    shift 2
    if "$@" >/tmp/said 2>&1; then
        no "$what: it was done"
    elif grep -q "$words" /tmp/said; then
        ok "$what: $(grep -m 1 "$words" /tmp/said)"
    else
        no "$what: $(tail -n 3 /tmp/said)"
    fi
}
timed() { # timed WHAT COMMAND...: milliseconds, by the machine's own clock
    what=$1
    shift
    before=$(date +%s%N)
    "$@" >/tmp/said 2>&1 || no "$what: $(tail -n 3 /tmp/said)"
    echo "time: $what: $((($(date +%s%N) - before) / 1000000)) ms"
}

# Each running guest: its name, number, QEMU's PID and when that began.
identities() {
    virsh list | awk 'NR > 2 && NF { print $2, $1 }' | sort | while read -r name number; do
        pid=$(cat "/run/libvirt/qemu/$name.pid")
        echo "$name $number $pid $(cut -d ' ' -f 22 "/proc/$pid/stat")"
    done
}
kept() { # kept WHAT: the guests are those of /tmp/before, the same processes
    identities >/tmp/now
    if cmp -s /tmp/before /tmp/now; then
        ok "$1: $(wc -l </tmp/now) guests kept"
    else
        no "$1: guests changed: $(diff /tmp/before /tmp/now | head -n 6)"
    fi
}

# guest NAME MIB [DEVICES [MORE]]: defined, with a disk whose boot sector halts the processor, so that it costs none.
guest() {
    name=$1 mib=$2 devices=${3:-} more=${4:-}
    printf '\372\364\353\375' >"$DISKS/$name.raw"
    truncate -s 510 "$DISKS/$name.raw"
    printf '\125\252' >>"$DISKS/$name.raw"
    truncate -s 1M "$DISKS/$name.raw"
    kind=qemu
    [ ! -e /dev/kvm ] || kind=kvm
    cat >"/tmp/$name.xml" <<XML
<domain type='$kind'><name>$name</name><memory unit='MiB'>$mib</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$DISKS/$name.raw'/>
<target dev='vda' bus='virtio'/></disk>
$devices<serial type='pty'/><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<memballoon model='none'/></devices>$more</domain>
XML
    virsh define "/tmp/$name.xml" >/dev/null
}
start() { # start NAME
    before=$(date +%s%N)
    if virsh start "$1" >/tmp/said 2>&1; then
        echo "started $1 in $((($(date +%s%N) - before) / 1000000)) ms"
    else
        no "start $1: $(cat /tmp/said)"
    fi
}
