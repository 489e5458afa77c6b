#!/bin/bash
# Builds the programs of another commit, to upgrade from or to compare with, and
# prints their folder:
#
#   hack/build-base.sh COMMIT       bin/base-<commit>/{manager,artifactstore}
#
# That commit's source is in the folder's source/. What exists already is not
# built again, and concurrent runs wait for each other.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "$1" >&2; exit 1; }

name=${1:?usage: hack/build-base.sh COMMIT}
git rev-parse --git-dir >/dev/null 2>&1 || fail "commit $name: this is not a git clone, so no other commit can be built"
if ! commit=$(git rev-parse --quiet --verify "$name^{commit}" 2>/dev/null); then
	[ "$(git rev-parse --is-shallow-repository)" = false ] ||
		fail "commit $name is not in this clone, which is shallow: git fetch --unshallow"
	fail "commit $name is not in this clone: git fetch"
fi

folder=bin/base-${commit:0:12}
stamp="$commit $(sha256sum <hack/build-base.sh)"
mkdir -p "$folder"
exec 9<"$folder"
flock 9
if [ "$(cat "$folder/.stamp" 2>/dev/null)" != "$stamp" ]; then
	echo "building commit $name into $folder" >&2
	rm -rf "$folder/source"
	mkdir "$folder/source"
	git archive "$commit" | tar -x -C "$folder/source" -m -f -
	version=$(git describe --tags --always "$commit")
	(cd "$folder/source" && CGO_ENABLED=0 GOWORK=off GOFLAGS= go build -trimpath -buildvcs=false \
		-ldflags "-s -w -X main.buildVersion=$version" -o .. ./cmd/manager ./cmd/artifactstore)
	echo "$stamp" >"$folder/.stamp" # last: it says that all is there
fi
echo "$PWD/$folder"
