# The service under its guests: restarts, a stop and a client, a killed daemon, daemon-reload.
identities >/tmp/before
echo "before: $(wc -l </tmp/before) guests"
for count in 1 2; do
    timed "restart $count" systemctl restart libvirtd.service
    timed "virsh list after it" virsh list
    kept "restart $count"
done
systemctl stop libvirtd.service 2>/dev/null
timed "the client after a stop" virsh list
kept "stop, and a client"
kill -9 "$(systemctl show --property MainPID --value libvirtd.service)"
timed "the client after kill -9" virsh list
kept "kill -9"
check "daemon-reload" systemctl daemon-reload
kept "daemon-reload"
