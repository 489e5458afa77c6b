#!/bin/bash
# Installs and removes artifact-store in the cluster of the current kubeconfig.
#
#   hack/cluster.sh install     the CRDs and the namespace: what stays
#   hack/cluster.sh deploy      the rest: the manager, with the image IMAGE
#   hack/cluster.sh undeploy    removes the manager; declared objects and stored content stay
#   hack/cluster.sh uninstall   removes the CRDs, once no object of theirs is left
#
#   OVERLAY     config/default, or config/sqlite
#   NAMESPACE   artifact-store
#   IMAGE       localhost/artifact-store:dev
#   KUBECTL     the program (default: that in PATH, or one that hack/build-tools.sh builds)
#
# A StorageBackend in use has a finalizer that only the manager removes, once the
# log names nothing in it any more. So each command first checks whether an object,
# or the namespace, waits for that, and says what to do: nothing here hangs.
set -euo pipefail
cd "$(dirname "$0")/.."

overlay=${OVERLAY:-config/default}
namespace=${NAMESPACE:-artifact-store}
image=${IMAGE:-localhost/artifact-store:dev}
rollout_timeout=${ROLLOUT_TIMEOUT:-5m}
if [ -z "${KUBECTL:-}" ]; then
	hack/build-tools.sh kubectl
	KUBECTL=$(hack/build-tools.sh --path kubectl)/kubectl
fi
kubectl() { "$KUBECTL" "$@"; }

fail() {
	echo "$@" >&2
	exit 1
}

# what_stays is the folder of the overlay's objects that stay.
what_stays() {
	if [ -d "$overlay/install" ]; then echo "$overlay/install"; else echo config/install; fi
}

# kustomization writes one that has the overlay in the namespace, with the image if one is given, and prints its folder.
kustomization() { # OVERLAY [IMAGE]
	local folder=bin/kustomize/${1//\//-}
	mkdir -p "$folder"
	{
		echo "namespace: $namespace"
		echo "resources: [../../../$1]"
		if [ -n "${2:-}" ]; then
			local name=${2%@*} tag="" digest=""
			[ "$name" = "$2" ] || digest=${2##*@}
			case "${name##*/}" in *:*) tag=${name##*:} name=${name%:*} ;; esac
			echo "images: [{name: localhost/artifact-store, newName: $name${digest:+, digest: '$digest'}${tag:+, newTag: '$tag'}}]"
			# The image of verification pods is the manager's.
			sed -n '/^replacements:/,$p' config/default/kustomization.yaml
		fi
	} >"$folder/kustomization.yaml"
	echo "$folder"
}

has_kinds() { kubectl get crd storagebackends.artifactstore.dev >/dev/null 2>&1; }

# need_namespace: in one that is being deleted nothing can be created.
need_namespace() {
	local phase
	phase=$(kubectl get namespace "$namespace" --ignore-not-found -o jsonpath='{.status.phase}')
	[ "$phase" != Terminating ] || fail "The namespace $namespace is being deleted, so nothing can be created in it. It waits for these StorageBackends:
$(! has_kinds || waiting)
Their content stays stored whatever becomes of them: see docs/OPERATOR.md, The namespace is Terminating already."
}

need_secret() { # NAME, the LINE of the manifests without which it is not needed, HOW to make it
	grep -Eq "^ *$2\$" <<<"$rendered" || return 0
	kubectl -n "$namespace" get secret "$1" >/dev/null 2>&1 || fail "the Secret $1 is missing in the namespace $namespace. $3"
}

install() {
	need_namespace
	kubectl apply -k "$(kustomization "$(what_stays)")"
	kubectl wait --for=condition=Established --timeout=60s crd/storagebackends.artifactstore.dev crd/routingpolicies.artifactstore.dev crd/packages.artifactstore.dev
}

deploy() {
	has_kinds || fail "the CRDs are not installed: run make install first"
	need_namespace
	local folder rendered
	folder=$(kustomization "$overlay" "$image")
	rendered=$(kubectl kustomize "$folder")
	need_secret artifact-store-database "name: artifact-store-database" \
		"Make it with the URL of a PostgreSQL database:
  kubectl -n $namespace create secret generic artifact-store-database --from-literal=url='postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full'
or take OVERLAY=config/sqlite."
	need_secret artifact-store-tls "secretName: artifact-store-tls" \
		"Make it with a certificate for artifact-store.$namespace.svc:
  kubectl -n $namespace create secret tls artifact-store-tls --cert=tls.crt --key=tls.key
or, for a trial, with a CA of its own: hack/certificate.sh"
	kubectl apply -k "$folder"
	kubectl -n "$namespace" rollout status deployment/artifact-store --timeout="$rollout_timeout" || {
		kubectl -n "$namespace" get pods -l app.kubernetes.io/component=manager >&2
		fail "the manager is not ready after $rollout_timeout: see kubectl -n $namespace describe pods"
	}
}

# waiting lists the StorageBackends that are being deleted and are not gone.
waiting() {
	kubectl -n "$namespace" get storagebackends -o go-template='{{range .items}}{{if .metadata.deletionTimestamp}}{{.metadata.name}}{{range .status.conditions}}{{if eq .type "Ready"}}: {{.message}}{{end}}{{end}}{{"\n"}}{{end}}{{end}}'
}

undeploy() {
	local left="" declared=0
	if has_kinds; then
		left=$(waiting)
		declared=$(kubectl -n "$namespace" get storagebackends -o name | wc -l)
	fi
	if [ -n "$left" ] && [ "${FORCE:-}" != 1 ]; then
		fail "These StorageBackends are being deleted, and only the manager can complete that:
$left
Wait until they are gone, or give them up (docs/OPERATOR.md, Giving up a backend). To remove the
manager anyway, set FORCE=1: they then stay until it is deployed again."
	fi
	# The pods first: they need their account until they have ended.
	kubectl -n "$namespace" delete deployment artifact-store --ignore-not-found --cascade=foreground --timeout=180s
	# Their pods would have no account and no registry to report to; a new manager resumes them.
	if [ "$declared" != 0 ]; then
		kubectl -n "$namespace" get cronjobs -l app.kubernetes.io/managed-by=artifact-store-manager -o name |
			while read -r job; do kubectl -n "$namespace" patch "$job" --type=merge -p '{"spec":{"suspend":true}}'; done
	fi
	kubectl delete -k "$(kustomization "$overlay")" --ignore-not-found --timeout=60s
	[ "$declared" = 0 ] || echo "$declared StorageBackends stay declared, and their content stays stored. They cannot be deleted until the manager is deployed again."
	echo "The CRDs, and the namespace $namespace with its Secrets, stay as well."
}

uninstall() {
	has_kinds || { echo "the CRDs are not installed"; return; }
	local left
	left=$(kubectl get storagebackends,routingpolicies --all-namespaces --no-headers -o custom-columns=N:.metadata.namespace,K:.kind,M:.metadata.name)
	[ -z "$left" ] || fail "These objects still exist. Removing the CRDs would delete them, or wait forever for a manager that is gone:
$left
Delete them while the manager is deployed (kubectl -n $namespace delete routingpolicies,storagebackends --all; those in use need
an annotation, see docs/INSTALL.md), then run this again."
	kubectl delete -k config/crd --ignore-not-found --timeout=120s
	kubectl delete -k config/admission --ignore-not-found --timeout=60s
	echo "The namespace $namespace stays, with the Secrets and volumes in it: kubectl delete namespace $namespace"
}

case "${1:-}" in
install | deploy | undeploy | uninstall) "$1" ;;
*) fail "usage: hack/cluster.sh install|deploy|undeploy|uninstall" ;;
esac
