#!/usr/bin/env bash
# What an operator installs: the units as systemd reads them, how exposed the services are, and the
# Debian package as lintian sees it, and as dpkg installs and removes it.
cd "$(dirname "$0")/../.." || exit
BUILD=build/gcc
made() { make -s -j"$(nproc)" CC=gcc CFLAGS=-Werror BUILD=$BUILD "$@"; }

found=0
wrong() { echo "$*" && found=1; }

# Installed where they can run from, so that systemd sees the programs and the manual too.
at=$PWD/$BUILD/installed
rm -rf "$at"
made install PREFIX="$at" SYSCONFDIR="$at/etc" || exit
units=$at/lib/systemd/system
MANPATH=$at/share/man systemd-analyze verify "$units"/* || wrong 'systemd does not take the units'
for service in "$units"/*.service; do
	systemd-analyze security --offline=true --threshold=20 --no-pager "$service" >"$BUILD/exposure" ||
		{ cat "$BUILD/exposure" && wrong "${service##*/} is exposed by 2.0 or more"; }
done
mkdir -p "$at/root/etc" "$at/root/run"
# Who is not root gives nothing away; fakeroot remembers what was given to whom.
made_for=$(fakeroot sh -c '
	systemd-sysusers --root="$1/root" "$2/sysusers.conf" 2>/dev/null
	systemd-tmpfiles --create --root="$1/root" "$2/tmpfiles.conf"
	stat -c %u "$1/root/run/interlock"' - "$at" "$PWD/systemd")
id=$(sed -n 's/^interlock:x:\([0-9]*\):.*nologin$/\1/p' "$at/root/etc/passwd")
[[ -n $id && $made_for == "$id" ]] || wrong 'sysusers and tmpfiles do not make the user and its folder'

# A second installation leaves a configuration alone.
echo '# mine' >"$at/etc/interlock/interlock.conf"
made install PREFIX="$at" SYSCONFDIR="$at/etc"
[ "$(cat "$at/etc/interlock/interlock.conf")" = '# mine' ] || wrong 'the configuration was overwritten'

package=$(made deb) || exit
lintian --fail-on error,warning "$package" 2>&1 | grep -v '^running with root'
((!PIPESTATUS[0])) || wrong 'lintian'
contents=$(dpkg-deb -c "$package" | awk '{ print $1, $6 }')
while read -r mode file; do
	grep -qxF -- "$mode ./$file" <<<"$contents" || wrong "the package has no $file with mode $mode"
done <<'FILES'
-rwxr-xr-x usr/sbin/interlockd
-rwxr-xr-x usr/bin/interlock
-rw-r----- etc/interlock/interlock.conf
drwxr-x--- etc/interlock/keys/
-rw-r--r-- lib/systemd/system/interlockd.service
-rw-r--r-- lib/systemd/system/interlockd.socket
-rw-r--r-- lib/systemd/system/interlock-prune.service
-rw-r--r-- lib/systemd/system/interlock-prune.timer
-rw-r--r-- usr/lib/sysusers.d/interlock.conf
-rw-r--r-- usr/lib/tmpfiles.d/interlock.conf
-rw-r--r-- usr/share/man/man8/interlockd.8.gz
-rw-r--r-- usr/share/man/man1/interlock.1.gz
-rw-r--r-- usr/share/man/man5/interlock.conf.5.gz
-rw-r--r-- usr/share/man/man7/interlock-protocol.7.gz
-rw-r--r-- usr/share/bash-completion/completions/interlock
-rw-r--r-- usr/share/bash-completion/completions/interlockd
FILES
[ "$(dpkg-deb -f "$package" Depends | grep -o libwebsockets-evlib-uv)" ] || wrong "the package does not depend on lws' part for libuv"
for example in nginx.conf alerts.yml grafana-dashboard.json; do
	[ ! -e config/$example ] || grep -q " ./usr/share/doc/interlock/examples/$example$" <<<"$contents" ||
		wrong "the package has no example $example"
done

# Installed, started, removed and purged for real: on this machine with an overlay that no other process
# sees. It is left out where an overlay cannot be mounted (not root, or not allowed by the kernel).
trial=$PWD/$BUILD/trial
rm -rf "$trial" && mkdir -p "$trial"
layered() {
	unshare --mount sh -ec '
		mount -t tmpfs none "$1" && cd "$1" && mkdir over work root
		mount -t overlay overlay -o lowerdir=/,upperdir=over,workdir=work root
		mount --rbind /dev root/dev && mount --rbind /proc root/proc && mount -t tmpfs none root/run
		shift && exec chroot root "$@"' - "$trial" "$@"
}
if layered true 2>"$BUILD/layer"; then
	layered sh -eu -s "$PWD/$package" >"$BUILD/trial.log" 2>&1 <<'END' || { cat "$BUILD/trial.log" && wrong 'the package is not installed, started or removed'; }
		is() { [ "$1" = "$2" ]; }
		conf=/etc/interlock/interlock.conf keys=/etc/interlock/keys socket=/run/interlock/socket
		trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
		dpkg() { command dpkg --no-triggers "$@"; } # the manual's index is none of ours
		dpkg -i "$1"
		is "$(stat -c '%U %G %a' $conf $keys /run/interlock | xargs)" 'root interlock 640 root interlock 750 interlock interlock 755'
		interlock keys --dir $keys && chgrp interlock $keys/* && chmod 640 $keys/*
		printf '[server]\nlisten = unix:%s\n[database]\nurl = host=/nowhere\n' $socket >$conf
		CREDENTIALS_DIRECTORY=$keys setpriv --reuid=interlock --regid=interlock --clear-groups interlockd -c $conf &
		is "$(curl -sS --retry 50 --retry-all-errors --retry-delay 0 --retry-max-time 20 --unix-socket $socket http://x/healthz)" ok
		kill $! && wait $!
		dpkg -i "$1" # once more, as an upgrade
		grep -q nowhere $conf
		files=$(dpkg -L interlock | while read -r file; do [ -d "$file" ] || echo "$file"; done)
		dpkg -r interlock
		for file in $files; do [ ! -e "$file" ] || is "$file" $conf; done
		dpkg -P interlock
		is "$(find /etc/interlock -type f | wc -l)" 3 # the keys, which cannot be made again
		is "$(find /etc/systemd /lib/systemd /run -name 'interlock*' | wc -l)" 0
END
else
	echo "no trial of the package here: $(cat "$BUILD/layer")"
fi

exit $found
