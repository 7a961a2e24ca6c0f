# Three kinds of guests for the reboot: running, off with autostart, saved by hand.
virsh destroy g1 >/dev/null
virsh autostart g1 >/dev/null
timed "managed save" virsh managedsave g2
virsh list --name | grep . | sort >/var/tmp/running
echo "running: $(wc -l </var/tmp/running), to be started by autostart: g1, saved: g2"
check "libvirt-guests is active" systemctl --quiet is-active libvirt-guests.service
