#!/bin/sh
# Regenerates what controller-gen makes from the Go types: deepcopy methods,
# CRDs, and the manager's Role and ClusterRole. Run it after a change in api/ or of an RBAC marker.
# CONTROLLER_GEN names the program; by default the one that hack/build-tools.sh builds.
set -eu
cd "$(dirname "$0")/.."
gen=${CONTROLLER_GEN:-bin/controller-gen}
if [ ! -x "$gen" ]; then
	echo "$gen does not exist: run hack/build-tools.sh dev first" >&2
	exit 1
fi
"$gen" object paths=./api/...
"$gen" crd paths=./api/... output:crd:artifacts:config=config/crd
"$gen" rbac:roleName=artifact-store-manager,fileName=role.yaml paths=./controllers/... paths=./pkg/access/kubernetes/... output:rbac:artifacts:config=config/rbac
