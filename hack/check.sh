#!/bin/bash
# The short loop: lint of the packages that changed since they were last shared,
# the rules of hack/layers, and every package whose tests start no server.
# Everything else is in make lint and make test.
#
#   SINCE   commit that changes are counted from (default: where this branch left origin's main)
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x bin/staticcheck ] || hack/build-tools.sh dev

since=${SINCE:-$(git merge-base HEAD origin/main 2>/dev/null || git rev-parse HEAD)}
mapfile -t files < <({
	git diff --name-only --diff-filter=d "$since" -- '*.go'
	git ls-files --others --exclude-standard -- '*.go'
} | sort -u)
# Of this module: what is in others, as in hack/tools, is make lint's.
mapfile -t packages < <(comm -12 \
	<(printf '%s\n' "${files[@]}" | sed -n "s|^\(.*\)/[^/]*$|./\1|p" | sort -u) \
	<(go list -f '{{.Dir}}' ./... | sed "s|^$PWD/|./|" | sort))

echo "lint of ${#files[@]} changed files in ${#packages[@]} packages"
if [ ${#files[@]} -gt 0 ]; then
	unformatted=$(gofmt -l "${files[@]}")
	[ -z "$unformatted" ] || { printf 'gofmt these files:\n%s\n' "$unformatted" >&2; exit 1; }
fi
go vet ./...
[ ${#packages[@]} = 0 ] || bin/staticcheck "${packages[@]}"

mapfile -t unit < <(hack/test-packages.sh without test/servers)
go test -ldflags=-s ./hack/layers "${unit[@]}"
