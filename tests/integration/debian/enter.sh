#!/bin/sh
# Run a command in a release's system: in mount and process namespaces that end with it.
#   FOLDER   where the system (root) and its .venv (venv) are
#   PROJECT  the checkout, which has the same path inside; not the corpora beside it: they were
#            measured with the QEMU of Debian 12
#   QEMU     an emulator that INSTEAD replaces
set -eu
root=$FOLDER/root
for folder in dev sys; do mount --rbind "/$folder" "$root/$folder"; done
mount -t proc proc "$root/proc"
for folder in tmp run; do mount -t tmpfs -o mode=1777 "$folder" "$root/$folder"; done
chmod 755 "$root/run"
mkdir -p "$root/run/lock" "$root$PROJECT" "$PROJECT/.venv" "$root/etc/ssl"
mount --bind "$PROJECT" "$root$PROJECT"
mount --bind "$FOLDER/venv" "$root$PROJECT/.venv"
# Whom this machine trusts, and whom it asks for names.
bundle=/etc/ssl/certs/ca-certificates.crt
if [ -e "$bundle" ]; then
    cat "$bundle" >"$root/etc/ssl/host.crt"
    export PIP_CERT=/etc/ssl/host.crt SSL_CERT_FILE=/etc/ssl/host.crt
fi
[ ! -e /etc/resolv.conf ] || cat /etc/resolv.conf >"$root/etc/resolv.conf"
if [ -n "${QEMU:-}" ]; then
    touch "$root$QEMU.real"
    mount --bind "$root$QEMU" "$root$QEMU.real"
    mount --bind "$INSTEAD" "$root$QEMU"
fi
# This shell stays: it is process 1, which has to wait for what daemons leave to it.
# shellcheck disable=SC2016  # the inner shell's own
chroot "$root" sh -c 'cd "$PROJECT" && exec "$@"' sh "$@" || exit
