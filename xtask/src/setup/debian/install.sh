# Installs the packages named as arguments. Run by debian.rs with `sh -ec`, as root.

# A server that comes with a package does not start while this file is there.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

# Those that are here already are somebody's, and stay as they are.
new=
for server in redis-server haproxy nginx; do
    if [ ! -e "/etc/init.d/$server" ]; then
        new="$new $server"
    fi
done

export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=120 update
apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 install --yes --no-install-recommends --no-remove "$@" >/dev/null

for server in $new; do
    if [ -e "/etc/init.d/$server" ]; then
        update-rc.d "$server" disable >/dev/null 2>&1
    fi
done
