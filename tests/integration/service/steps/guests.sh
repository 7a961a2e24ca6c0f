# Twenty guests with a disk each, one after the other.
mkdir -p "$DISKS"
for number in $(seq "${GUESTS:-20}"); do
    guest "g$number" 16
    start "g$number"
done
echo "running: $(virsh list --name | grep -c g)"
machinectl --no-pager --no-legend | wc -l
