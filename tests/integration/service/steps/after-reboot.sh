# The guests are back: those that ran, and the one with autostart; the one saved by hand is not.
for second in $(seq 600); do
    case $(systemctl is-system-running) in running | degraded) break ;; esac
    sleep 1
done
echo "systemd: $(systemctl is-system-running), $(cut -d ' ' -f 1 /proc/uptime) s after the kernel's start"
systemctl --failed --no-legend
journalctl -b -1 -u libvirt-guests.service --no-pager -o cat 2>/dev/null | grep -c saving
journalctl -b -u libvirt-guests.service --no-pager -o cat | tail -n 3
{ cat /var/tmp/running; echo g1; } | sort >/tmp/wanted
virsh list --name | grep . | sort >/tmp/now
cmp -s /tmp/wanted /tmp/now && ok "$(wc -l </tmp/now) guests are back" || no "others: $(diff /tmp/wanted /tmp/now | tr '\n' ' ')"
check "what was saved by hand is off" grep -q "shut off" /dev/stdin < <(virsh domstate g2)
check "and still saved" grep -q "Managed save: *yes" /dev/stdin < <(virsh dominfo g2)
check "none of the others is" test -z "$(ls /var/lib/libvirt/qemu/save | grep -v '^g2.save$')"
timed "start of what was saved" virsh start g2
