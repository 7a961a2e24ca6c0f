# Upgrade, removal and installation under running guests.
identities >/tmp/before
echo "before: $(wc -l </tmp/before) guests"
export DEBIAN_FRONTEND=noninteractive
rm -rf /tmp/tree
dpkg-deb -R "$HOST"/virtvisor_*.deb /tmp/tree
sed -i 's/^Version: .*/Version: 99/' /tmp/tree/DEBIAN/control
dpkg-deb -Znone --build /tmp/tree /root/upgrade.deb >/dev/null
rm -rf /tmp/tree
systemctl --quiet disable libvirtd-ro.socket
timed "upgrade" apt-get install -y -q /root/upgrade.deb
check "the new version" grep -q '^Version: 99' /dev/stdin < <(dpkg -s virtvisor)
kept "upgrade"
refused "what was disabled stays so" disabled systemctl is-enabled libvirtd-ro.socket
systemctl --quiet enable libvirtd-ro.socket
virsh list --all --name | sort >/tmp/defined
timed "removal" apt-get remove -y -q virtvisor
check "the programs are gone" test ! -e /usr/sbin/libvirtd
check "the definitions stay" test "$(ls /etc/libvirt/qemu/*.xml | wc -l)" = "$(grep -c . /tmp/defined)"
check "the disks stay" test "$(ls "$DISKS"/*.raw | wc -l)" -ge "$(wc -l </tmp/before)"
check "the guests run on" sh -c 'while read -r name number pid rest; do kill -0 $pid || exit 1; done </tmp/before'
timed "installation" apt-get install -y -q /root/upgrade.deb
kept "removal and installation"
virsh list --all --name | sort | cmp -s - /tmp/defined && ok "the same definitions" || no "other definitions"
