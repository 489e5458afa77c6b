#!/bin/bash
# Runs a command with TMPDIR in memory, where there is plenty of it: tests make
# and delete some hundred thousand files, and ext4 then spends up to half of the
# CPU time on passing by inodes that were deleted a moment ago. The folder's name
# is always the same, since go test takes a cached result only where TMPDIR is
# what it was. Several may run at once; the last one cleans up.
set -euo pipefail

least=$((12 << 20)) # KiB, of available memory and of room

kib() { "$@" 2>/dev/null | awk 'END {print $NF + 0}'; }
available=$(kib awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
room=$(kib df -k --output=avail /dev/shm)
if [ "$available" -lt "$least" ] || [ "$room" -lt "$least" ]; then
	exec "$@"
fi

scratch=/dev/shm/artifact-store-$(id -u)
mkdir -p -m 711 "$scratch" # servers of other users find their folders in it
if [ ! -O "$scratch" ] || [ -L "$scratch" ]; then
	echo "$scratch belongs to someone else" >&2
	exit 1
fi
exec 9<"$scratch"
clean() { if flock -n -x 9; then find "$scratch" -mindepth 1 -delete 2>/dev/null || true; fi; }
clean # what a run that was killed has left
flock -s 9
trap clean EXIT
TMPDIR=$scratch "$@" 9<&-
