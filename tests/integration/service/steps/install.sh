# The package on a system that has QEMU and libvirt's clients, and no daemon of libvirt.
export DEBIAN_FRONTEND=noninteractive
echo "$(. /etc/os-release; echo "$PRETTY_NAME"), $(uname -r), $(qemu-system-x86_64 --version | head -n 1), $(virsh --version), systemd $(systemctl --version | awk 'NR == 1 { print $2 }')"
refused "before it" "Failed to connect" virsh list
timed "apt-get install" apt-get install -y -q --no-install-recommends "$HOST"/virtvisor_*.deb
check "sockets are enabled" systemctl --quiet is-enabled libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket
check "and listen" systemctl --quiet is-active libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket
timed "virsh list" virsh list
systemctl --failed --no-legend
