# From libvirt's own daemon to ours and back with ten guests, which AppArmor confines.
mkdir -p /opt/ours
dpkg-deb -x "$HOST"/virtvisor_*.deb /opt/ours
cp -a /opt/ours/usr/lib/virtvisor /usr/lib/
[ -e /opt/libvirtd ] || cp /usr/sbin/libvirtd /opt/libvirtd
cp /opt/ours/usr/bin/virtvisorctl /usr/local/bin/
UNIT=$(ls /opt/ours/lib/systemd/system/libvirtd.service /opt/ours/usr/lib/systemd/system/libvirtd.service 2>/dev/null | head -n 1)
change() { # change WHOSE: one daemon instead of the other, under its guests, by the same path
    systemctl stop libvirtd.service 2>/dev/null
    rm -f /etc/systemd/system/libvirtd.service /usr/sbin/libvirtd
    if [ "$1" = libvirt ]; then
        cp /opt/libvirtd /usr/sbin/libvirtd
    else
        cp "$UNIT" /etc/systemd/system/libvirtd.service
        cp /opt/ours/usr/sbin/libvirtd /usr/sbin/libvirtd
    fi
    systemctl daemon-reload
    systemctl start libvirtd.service
    echo "daemon: $(virsh version --daemon | grep daemon)," \
        "$(cat "/proc/$(systemctl show --property MainPID --value libvirtd.service)/attr/current")"
}
look() { # what must be the same: processes, numbers, profiles, states, taps
    identities | while read -r name number pid began; do
        echo "$name $number $pid $began $(cut -d ' ' -f 1 "/proc/$pid/attr/current")"
    done
    virsh domstats --state --interface | grep -E '^Domain|state.state|net.0.name' | paste -s -d ' ' |
        sed "s/ *Domain: /\\n/g" | sort
}
same() { # same WHAT: nothing changed
    for second in $(seq 30); do # statistics of taps come with the guest's worker
        look >/tmp/now
        cmp -s /tmp/looked /tmp/now && break
        sleep 1
    done
    if cmp -s /tmp/looked /tmp/now; then ok "$1: $(wc -l </tmp/now) lines, unchanged"; else no "$1: $(diff /tmp/looked /tmp/now)"; fi
}
plug() { # plug GUEST: a disk; unplugging it needs an answer of the guest's, which has no system
    truncate -s 1M "$DISKS/plugged-$1.raw"
    check "a disk is plugged into $1" virsh attach-disk "$1" "$DISKS/plugged-$1.raw" vdb --subdriver raw
}
card="<interface type='network'><source network='default'/><model type='virtio'/></interface>"
mkdir -p "$DISKS"
truncate -s 1M "$DISKS/plugged.raw" # of no guest
change libvirt
virsh net-start default >/dev/null 2>&1
virsh pool-create-as images dir --target "$DISKS" >/dev/null
for number in $(seq "${GUESTS:-10}"); do
    # libvirt's daemon takes half a minute of this machine's time to make a profile.
    more=
    [ "$number" -le 2 ] || more="<seclabel type='none' model='apparmor'/>"
    guest "s$number" 16 "$card" "$more"
    start "s$number"
done
look >/tmp/looked
cat /tmp/looked
virsh dumpxml s1 | grep -A 3 "<seclabel"
/usr/local/bin/virtvisorctl takeover --check
change ours
same "libvirt's guests with our daemon"
check "the network is active" grep -q "^Active: *yes" /dev/stdin < <(virsh net-info default)
check "the pool is active" grep -q "^State: *running" /dev/stdin < <(virsh pool-info images)
virsh dumpxml s1 | grep -A 3 "<seclabel"
refused "a disk that the profile of s2 lacks" "denied\|Could not open" \
    virsh attach-disk s2 "$DISKS/plugged.raw" vdb --subdriver raw
check "its profile is set to complain" \
    apparmor_parser --replace --Complain "/etc/apparmor.d/libvirt/libvirt-$(virsh domuuid s2 | head -n 1)"
plug s2
for number in 1 2; do guest "o$number" 16 "$card"; start "o$number"; done
check "a guest of libvirt's is ended" virsh destroy s9
check "and its disk is root's again" test "$(stat -c %U "$DISKS/s9.raw")" = root
look >/tmp/looked
/usr/local/bin/virtvisorctl takeover --check | grep -v "comes along"
change libvirt
same "all guests with libvirt's daemon"
check "the network is active" grep -q "^Active: *yes" /dev/stdin < <(virsh net-info default)
virsh dumpxml s1 | grep -A 3 "<seclabel"
plug s3
plug o1
check "a guest of ours is ended" virsh destroy o2
look >/tmp/looked
change ours
same "and again with ours"
for name in $(virsh list --name); do virsh destroy "$name" >/dev/null || no "destroy $name"; done
check "none runs" test -z "$(virsh list --name | grep .)"
pgrep -f guest= && no "a QEMU is left"
dmesg | grep 'apparmor="DENIED"' | sed 's/.*apparmor=/apparmor=/; s/ pid=[0-9]*//' | sort | uniq -c | sort -rn | head -n 20
