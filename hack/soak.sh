#!/bin/bash
# Runs the long form of the tests that have one (test/size), and prints their
# output: date, commit and seed first. Arguments are for go test, such as -run.
set -euo pipefail
cd "$(dirname "$0")/.."
export ARTIFACTSTORE_SOAK=1 ARTIFACTSTORE_SEED=${ARTIFACTSTORE_SEED:-$(od -An -N8 -tu8 /dev/urandom | tr -d ' ')}
echo "soak of $(git describe --tags --always --dirty 2>/dev/null || echo devel), $(date -u +%Y-%m-%dT%H:%MZ), ARTIFACTSTORE_SEED=$ARTIFACTSTORE_SEED"
mapfile -t packages < <(hack/test-packages.sh with test/size)
code=0
go test -ldflags=-s -count 1 -p 1 -timeout 6h -v "$@" "${packages[@]}" | grep -vE '^ *=== |^ *--- PASS: .* \(0\.[0-9]+s\)$' || code=${PIPESTATUS[0]}
[ "$code" = 0 ] && echo "soak passed, $(date -u +%Y-%m-%dT%H:%MZ)"
exit "$code"
