#!/bin/bash
# Tests an S3 endpoint against the storage contract and prints a dated report.
#
#   ENDPOINT=https://… BUCKET=… [REGION=… CA=file PREFIX=…] hack/smoke-s3.sh
#
# The keys are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment,
# with AWS_SESSION_TOKEN for session credentials.
# It writes below a fresh prefix and empties it again. Exit code: 0 if all passed, else 1.
set -euo pipefail
cd "$(dirname "$0")/.."
for name in ENDPOINT BUCKET AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; do
	[ -n "${!name:-}" ] || { echo "$name is not set: see docs/OPERATOR.md, \"Trying an S3 server\"" >&2; exit 1; }
done
export SMOKE_ENDPOINT="$ENDPOINT" SMOKE_BUCKET="$BUCKET" SMOKE_REGION="${REGION:-us-east-1}" SMOKE_PREFIX="${PREFIX:-}"
export SMOKE_CA="${CA:+$(realpath "$CA")}"

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
echo "artifact-store $(git describe --tags --always --dirty 2>/dev/null || echo devel) against $ENDPOINT, $(date -u +%Y-%m-%dT%H:%MZ)"
code=0
go test -tags smoke -count 1 -parallel 4 -timeout 60m -run '^TestSmoke$' -v ./pkg/storage/s3 >"$log" 2>&1 || code=1
grep '^NOTE ' "$log" || true
# A test's cases run concurrently: its time is the sum of theirs.
awk '$1 == "---" && $3 ~ /^TestSmoke\// {
	split($3, name, "/"); test = name[2]; result = tolower($2); sub(":", "", result)
	if (!(test in worst)) { order[++tests] = test; worst[test] = "pass" }
	if (result != "pass") worst[test] = result
	if (3 in name) { cases[test]++; if (result != "pass") bad[test]++ }
	gsub(/[()s]/, "", $4); seconds[test] += $4
}
END {
	for (i = 1; i <= tests; i++) {
		test = order[i]; counted = ""
		if (test in cases) counted = "  " (cases[test] - bad[test]) " of " cases[test] " cases"
		printf "%-16s %-5s %7.2f s%s\n", test, worst[test], seconds[test], counted
		passed += worst[test] == "pass"
	}
	printf "%d of %d tests passed\n", passed, tests
	exit !(tests && passed == tests)
}' "$log" || code=1
if [ $code != 0 ]; then
	grep -vE '^ *(=== |--- PASS)' "$log" | head -n 60 >&2
fi
exit $code
