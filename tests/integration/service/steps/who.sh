# Who is let in: root, a member of libvirt, and nobody else. The daemon is started by its socket.
id alice >/dev/null 2>&1 || { useradd -m alice; useradd -m bob; usermod -aG libvirt alice; }
systemctl stop libvirtd.service
[ "$(systemctl is-active libvirtd.service)" = inactive ] && ok "the service is stopped" || no "it runs"
timed "the first client starts it through its socket" virsh list
timed "the second client" virsh list
check "a member of libvirt" runuser -u alice -- virsh -c qemu:///system list
refused "a stranger" "authentication" runuser -u bob -- virsh -c qemu:///system list
check "a stranger, read-only" runuser -u bob -- virsh -r -c qemu:///system list
refused "a stranger, read-only, who would change" "forbidden\|denied" \
    runuser -u bob -- virsh -r -c qemu:///system net-create /dev/null
check "a user's own daemon" runuser -u bob -- virsh -c qemu:///session list
systemd-analyze security libvirtd.service --no-pager | tail -n 1
