#!/bin/bash
# Starts the embedded registry, pushes docs/, pulls it back and compares it, shows
# where it was stored, and keeps serving until Ctrl-C.
#
#   DATA_DIR  database and bytes (default .run)
#   LISTEN    address to serve at (default 127.0.0.1:8080; port 0 takes a free one)
set -euo pipefail
cd "$(dirname "$0")/.."

data_dir=${DATA_DIR:-.run}
listen=${LISTEN:-127.0.0.1:8080}
config_dir=config/samples/embedded
ready_seconds=30
log=$data_dir/manager.log
mkdir -p "$data_dir"
pulled=$(mktemp -d)
manager=

end() {
	trap - EXIT
	trap '' INT TERM # ending takes a moment, and once is enough
	rm -rf "$pulled"
	if [ -n "$manager" ] && kill -TERM "$manager" 2>/dev/null; then
		wait "$manager" || true
	fi
	exit "$1"
}
stop() {
	trap '' INT TERM
	echo
	echo "stopping"
	code=0
	kill -TERM "$manager" 2>/dev/null || true
	wait "$manager" || code=$?
	manager=
	[ "$code" = 0 ] || echo "the manager ended with code $code; see $log" >&2
	end "$code"
}
fail() {
	echo "make run: $1" >&2
	if [ -s "$log" ]; then
		echo "the end of $log:" >&2
		tail -n 15 "$log" | sed 's/^/    /' >&2
	fi
	end 1
}
trap 'end $?' EXIT
trap stop INT TERM

# In a separate process group: Ctrl-C reaches only this script, which then
# asks the manager to end, once (a second signal would not wait for requests).
set -m
bin/manager --config-dir "$config_dir" --data-dir "$data_dir" --listen "$listen" >"$log" 2>&1 &
manager=$!
set +m

# until_true WHAT COMMAND... polls while the manager lives, up to the deadline.
until_true() {
	local what=$1 deadline=$((SECONDS + ready_seconds))
	shift
	until "$@"; do
		kill -0 "$manager" 2>/dev/null || fail "the manager ended before $what"
		[ "$SECONDS" -lt "$deadline" ] || fail "still waiting after $ready_seconds s until $what"
		sleep 0.05
	done
}

# The manager says in its log where it serves. Waiting for that first keeps
# another server that has the port already from being taken for ours.
find_address() {
	address=$(sed -n 's|.*[ =":]\(http://[^ "]*\).*|\1|p' "$log" | head -n 1)
	[ -n "$address" ]
}
until_true "it served at $listen" find_address
export ARTIFACTSTORE_SERVER=$address

declared=$(cat "$config_dir"/*.yaml | grep -c '^kind: StorageBackend$')
all_ready() {
	bin/artifactstore backends 2>/dev/null |
		awk -v want="$declared" 'NR > 1 && $3 == "True" { ready++ } END { exit ready != want }'
}
until_true "all $declared backends were ready" all_ready

# The version is made of the content, so that a second run finds its own
# package again, and a change of docs/ makes another.
version=$({
	find docs -type f -printf '%m %P\n' | LC_ALL=C sort
	find docs -type f -print0 | LC_ALL=C sort -z | xargs -0 bin/artifactstore digest
} | bin/artifactstore digest - | cut -c 8-19)
package=artifact-store/docs@$version

pushed=$(bin/artifactstore push docs --producer artifact-store --name docs --version "$version" \
	--retention-class documentation) || fail "docs/ could not be pushed"
bin/artifactstore pull "$package" -d "$pulled" >/dev/null || fail "$package could not be pulled"
diff -r docs "$pulled" || fail "what was pulled differs from docs/"
bin/artifactstore manifest verify "$package" docs >/dev/null || fail "the manifest is not that of docs/"

value() { awk -v name="$1" '$1 == name { print $2 }' <<<"$pushed"; }
format='%-36s  %-71s  %-10s  %s\n'
echo
# shellcheck disable=SC2059
printf "$format" PACKAGE DIGEST BACKEND POSITION
# shellcheck disable=SC2059
printf "$format" "$package" "$(value manifest)" "$(value backend)" "$(value position)"
cat <<EOF

pushed, pulled back and compared: identical

serving   $address    data in $data_dir, log in $log
  packages  $address/v1/packages
  events    $address/v1/events
  backends  $address/v1/backends
  health    $address/v1/health
  API       $address/openapi.json
  metrics   $address/metrics
try       ARTIFACTSTORE_SERVER=$address bin/artifactstore list
Ctrl-C stops it.
EOF

code=0
wait "$manager" || code=$?
manager=
fail "the manager ended by itself with code $code"
