#!/bin/bash
# Compares the time of make test with that of another commit: both are compiled
# first, then each runs twice, in turns, with no cached result. Run it on an idle
# machine.
#
#   hack/test-time.sh COMMIT
set -euo pipefail
cd "$(dirname "$0")/.."
base=$(hack/build-base.sh "${1:?usage: hack/test-time.sh COMMIT}")/source
make --no-print-directory parts
mkdir -p "$base/bin"
ln -sfn "$PWD/bin/tools" "$base/bin/tools"

logs=$(mktemp -d)
echo "output of each run in $logs; load $(cut -d' ' -f1-3 /proc/loadavg)"
for tree in "$PWD" "$base"; do # so that no compilation is timed
	for module in . hack/tools/image hack/tools/alerts; do
		(cd "$tree/$module" && CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false" go test -ldflags=-s -run '^$' ./... >/dev/null)
	done
done
run() {
	local log="$logs/$1" code=0 began=$EPOCHREALTIME
	GOFLAGS=-count=1 make -C "$2" --no-print-directory test >"$log" 2>&1 || code=$?
	awk -v what="$1" -v from="$began" -v to="$EPOCHREALTIME" -v code="$code" \
		'BEGIN { printf "%-12s %7.1f s%s\n", what, to - from, code ? "  FAILED, exit " code : "" }'
}
run base-1 "$base"
run this-1 "$PWD"
run this-2 "$PWD"
run base-2 "$base"
