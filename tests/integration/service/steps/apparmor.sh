# AppArmor. The packages of libvirt's daemon leave its profile when they are removed; it is for
# /usr/sbin/libvirtd, which is our program, too.
check "the kernel has AppArmor" grep -qw apparmor /sys/kernel/security/lsm
label() { cat "/proc/$1/attr/apparmor/current" 2>/dev/null || cat "/proc/$1/attr/current"; }
main() { systemctl show --property MainPID --value libvirtd.service; }
look() { # look WHAT: what the daemon and what it starts are confined to
    echo "$1: daemon $(label "$(main)"), guest g1 $(label "$(cat /run/libvirt/qemu/g1.pid)")"
}
virsh list >/dev/null
look "without libvirt's profile"

mkdir -p /tmp/libvirt
for deb in /var/cache/apt/archives/libvirt-daemon_*.deb /var/cache/apt/archives/libvirt-daemon-system_*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C /tmp/libvirt ./etc/apparmor.d 2>/dev/null
done
[ -e /etc/apparmor.d/usr.sbin.libvirtd ] || cp -r /tmp/libvirt/etc/apparmor.d/. /etc/apparmor.d/
mkdir -p /etc/apparmor.d/local
touch /etc/apparmor.d/local/usr.sbin.libvirtd
check "libvirt's profile is loaded" apparmor_parser --replace /etc/apparmor.d/usr.sbin.libvirtd

try() { # try CASE: what the profile would forbid
    systemctl restart libvirtd.service
    virsh list >/dev/null
    look "$1"
    guest aa 16
    check "$1: a guest with a private /dev starts" virsh start aa
    check "$1: a disk is plugged" virsh attach-disk aa "$DISKS/plugged.raw" vdb --subdriver raw
    virsh destroy aa >/dev/null
    virsh net-start default >/dev/null 2>&1
    check "$1: a network with dnsmasq" grep -q "^Active: *yes" /dev/stdin < <(virsh net-info default)
    virsh net-destroy default >/dev/null 2>&1
    check "$1: a pool that is mounted" virsh pool-create-as aa fs --source-dev /dev/loop7 --source-format ext4 --target /mnt
    virsh pool-destroy aa >/dev/null 2>&1
    virsh undefine aa >/dev/null
}
truncate -s 4M "$DISKS/plugged.raw" /var/tmp/pool.raw
mkfs.ext4 -q /var/tmp/pool.raw
modprobe loop
losetup /dev/loop7 /var/tmp/pool.raw
if [ "${CONFINED:-no}" = yes ]; then
    mkdir -p /run/systemd/system/libvirtd.service.d
    printf '[Service]\nAppArmorProfile=\n' >/run/systemd/system/libvirtd.service.d/confined.conf
    systemctl daemon-reload
    try "confined by libvirt's profile"
    dmesg | grep 'apparmor="DENIED"' | sed 's/.*apparmor=/apparmor=/' | sort | uniq -c | sort -rn | head -n 20
    rm -r /run/systemd/system/libvirtd.service.d
    systemctl daemon-reload
fi
dmesg --clear
try "with the unit as it is"
denied=$(dmesg | grep 'apparmor="DENIED"' | grep -v 'profile="virt-aa-helper"' | sed 's/.*apparmor=/apparmor=/')
[ -z "$denied" ] && ok "AppArmor denied nothing" || no "AppArmor: $denied"
losetup -d /dev/loop7
apparmor_parser --remove /etc/apparmor.d/usr.sbin.libvirtd
rm /etc/apparmor.d/usr.sbin.libvirtd
