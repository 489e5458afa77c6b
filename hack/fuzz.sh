#!/bin/bash
# Runs each fuzz target for a while, one after the other. What a target finds is
# written to testdata/fuzz of its package: commit it with the mend.
#
#   hack/fuzz.sh [DURATION]   # 1m
set -euo pipefail
cd "$(dirname "$0")/.."
code=0
while IFS=: read -r file target; do
	echo "== $target in $(dirname "$file")"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${1:-1m}" "./$(dirname "$file")" || code=$?
done < <(git grep -E '^func Fuzz[A-Za-z0-9]+\(' -- '*_test.go' | sed -E 's/^([^:]+):func (Fuzz[A-Za-z0-9]+).*/\1:\2/' | sort)
exit "$code"
