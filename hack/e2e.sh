#!/bin/bash
# Runs test/e2e/cluster against the cluster that KUBECONFIG names: installs
# artifact-store there, uses it as its users would, and removes it again. The
# namespaces artifact-store and artifact-store-e2e must not exist before.
#
# The images are built here and brought to the nodes; PostgreSQL and S3 run on
# this machine, where pods must reach them. How to do both is known for two kinds of
# cluster:
#
#   - one that ../shared/cluster/cluster started (or the one that E2E_CLUSTER names)
#   - kind: its nodes' gateway is this machine
#
# For others, set
#
#   E2E_LOAD     command that brings an image archive to all nodes
#   E2E_LISTEN   address of this machine to listen at
#   E2E_HOST     name by which pods reach it
#   E2E_EXPOSE   command that is given each port, where something must let pods through
#
# Arguments are for go test, such as -run.
set -euo pipefail
cd "$(dirname "$0")/.."

: "${KUBECONFIG:?names no cluster}"
hack/build-tools.sh kubectl versitygw postgresql
KUBECTL=${KUBECTL:-$(hack/build-tools.sh --path kubectl)/kubectl}
cluster=${E2E_CLUSTER:-../shared/cluster/cluster}

if [ -z "${E2E_LOAD:-}" ]; then
	context=$("$KUBECTL" config current-context)
	if [ -x "$cluster" ] && [[ $("$cluster" status || true) == *"kubeconfig: $KUBECONFIG"* ]]; then
		cluster=$(realpath "$cluster")
		E2E_LOAD="$cluster load" E2E_EXPOSE="$cluster expose" E2E_LISTEN=127.0.0.1 E2E_HOST=host.internal
		# Every such cluster has the same address: what kubectl remembers of the last one is wrong.
		export KUBECACHEDIR=${KUBECACHEDIR:-$PWD/bin/kubectl-cache}
	elif [[ $context = kind-* ]]; then
		gateway=$(docker network inspect kind --format '{{range .IPAM.Config}}{{println .Gateway}}{{end}}' | grep -m 1 -F .)
		E2E_LOAD="kind load image-archive --name ${context#kind-}" E2E_LISTEN=$gateway E2E_HOST=$gateway
	else
		echo "this kind of cluster is not known: set E2E_LOAD, E2E_LISTEN and E2E_HOST (see $0)" >&2
		exit 1
	fi
fi
export KUBECTL E2E_LOAD E2E_EXPOSE="${E2E_EXPOSE:-}" E2E_LISTEN="${E2E_LISTEN:?}" E2E_HOST="${E2E_HOST:?}"

# Two versions, to update from one to the other; the first release, to upgrade from; and the program that makes the load.
export E2E_IMAGE_BASE=localhost/artifact-store:e2e-base
export E2E_IMAGE=localhost/artifact-store:e2e-1 E2E_IMAGE_AFTER=localhost/artifact-store:e2e-2 E2E_IMAGE_LOAD=localhost/artifact-store-load:e2e
IMAGE=$E2E_IMAGE VERSION=e2e-1 ARCHIVE=bin/e2e/1.tar hack/image.sh
IMAGE=$E2E_IMAGE_AFTER VERSION=e2e-2 ARCHIVE=bin/e2e/2.tar hack/image.sh
base=$(hack/build-base.sh c380a41)
export CGO_ENABLED=0
(cd hack/tools/image && go run -trimpath -buildvcs=false . --ref "$E2E_IMAGE_BASE" --out "$OLDPWD/bin/e2e/base.tar" "$base")
GOOS=linux go build -trimpath -buildvcs=false -ldflags "-s -w" -o bin/e2e/load/ ./test/e2e/cluster/load
(cd hack/tools/image && go run -trimpath -buildvcs=false . --programs load --ref "$E2E_IMAGE_LOAD" --out "$OLDPWD/bin/e2e/load.tar" "$OLDPWD/bin/e2e/load")
for archive in base 1 2 load; do
	$E2E_LOAD "$PWD/bin/e2e/$archive.tar"
done

exec go test -trimpath -buildvcs=false -tags e2e -count 1 -timeout "${E2E_TIMEOUT:-30m}" -v "$@" ./test/e2e/cluster
