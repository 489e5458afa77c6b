#!/bin/bash
# Makes the container image of manager and artifactstore, without a daemon:
# static programs without a base image, and an SBOM. See hack/tools/image.
#
#   IMAGE      its name (default localhost/artifact-store:dev)
#   ARCHIVE    file of the OCI archive (default bin/artifact-store.tar)
#   PLATFORMS  e.g. "linux/amd64 linux/arm64" (default: Linux on this machine's processor)
#   PUSH=1     pushes it, with the credentials of docker login or podman login
#   VERSION    that the programs report
#
# The SBOM of the first platform is bin/artifact-store.spdx.json as well.
set -euo pipefail
cd "$(dirname "$0")/.."

image=${IMAGE:-localhost/artifact-store:dev}
archive=${ARCHIVE:-bin/artifact-store.tar}
platforms=${PLATFORMS:-linux/$(go env GOARCH)}
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo devel)}
revision=$(git rev-parse HEAD 2>/dev/null || true)
created=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

export CGO_ENABLED=0 GOWORK=off
folders=()
for platform in $platforms; do
	folder=bin/image/${platform//\//-}
	folders+=("$PWD/$folder")
	GOOS=${platform%%/*} GOARCH=${platform##*/} go build -trimpath -buildvcs=false \
		-ldflags "-s -w -X main.buildVersion=$version" -o "$folder/" ./cmd/manager ./cmd/artifactstore
done
out=$(realpath -m "$archive")
push=()
[ "${PUSH:-}" != 1 ] || push=(--push)
cd hack/tools/image
exec go run -trimpath -buildvcs=false . --ref "$image" --out "$out" --sbom "$OLDPWD/bin/artifact-store.spdx.json" \
	--version "$version" --revision "$revision" --created "$created" "${push[@]}" "${folders[@]}"
