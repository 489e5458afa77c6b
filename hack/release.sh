#!/bin/bash
# Makes the command line of a release in bin/release: artifactstore for Linux, macOS
# and Windows on amd64 and arm64, static, with an SBOM (SPDX) of each and SHA256SUMS
# of all. The same commit and version give the same bytes.
#
#   VERSION    that the programs report
#   PLATFORMS  some of them, e.g. "linux/amd64 windows/amd64" (default: all six)
set -euo pipefail
cd "$(dirname "$0")/.."

version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo devel)}
platforms=${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}
created=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
folder=bin/release

# Whatever the caller's settings: they would be in the bytes.
export CGO_ENABLED=0 GOWORK=off GOFLAGS= GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT=
rm -rf "$folder"
mkdir -p "$folder"
programs=()
for platform in $platforms; do
	os=${platform%%/*} arch=${platform##*/}
	program=artifactstore-$os-$arch
	[ "$os" != windows ] || program+=.exe
	echo "building $program" >&2
	GOOS=$os GOARCH=$arch go build -trimpath -buildvcs=false -ldflags "-s -w -X main.buildVersion=$version" -o "$folder/$program" ./cmd/artifactstore
	programs+=("$PWD/$folder/$program")
done
(cd hack/tools/image && go run -trimpath -buildvcs=false . --sbom-beside --version "$version" --created "$created" "${programs[@]}")
(cd "$folder" && LC_ALL=C sha256sum artifactstore-* >SHA256SUMS)
echo "$folder: artifactstore $version for $platforms"
