#!/bin/bash
# Runs a command with TMPDIR in memory, if there is enough of it and programs may
# be run from it: tests make and delete some hundred thousand files, and ext4 then
# spends much CPU time on skipping recently deleted inodes. Otherwise it runs the
# command unchanged. The folder's name is always the same, because go test uses a
# cached result only if TMPDIR is the same. Several may run at once; the last one
# cleans up.
set -euo pipefail

scratch=/dev/shm/artifact-store-$(id -u)
least=$((12 << 20)) # KiB, of available memory and of room

roomy() {
	local available room
	available=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo 2>/dev/null) || return 1
	room=$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1) || return 1
	[ "${available:-0}" -ge "$least" ] && [ "$room" -ge "$least" ]
}

# usable makes the folder and has a program run in it: containers mount /dev/shm noexec.
usable() {
	command -v flock >/dev/null && mkdir -p -m 711 "$scratch" || return 1 # servers of other users find their folders in it
	if [ ! -O "$scratch" ] || [ -L "$scratch" ]; then
		echo "$scratch belongs to someone else: tests write to ${TMPDIR:-/tmp}" >&2
		return 1
	fi
	local program
	program=$(mktemp "$scratch/runs.XXXXXX") || return 1
	printf '#!/bin/sh\n' >"$program"
	chmod 700 "$program"
	"$program" 2>/dev/null
}

if ! roomy || ! usable; then
	exec "$@"
fi
exec 9<"$scratch"
clean() { if flock -n -x 9; then find "$scratch" -mindepth 1 -delete 2>/dev/null || true; fi; }
clean # what a run that was killed has left
flock -s 9
trap clean EXIT
TMPDIR=$scratch "$@" 9<&-
