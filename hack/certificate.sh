#!/bin/bash
# Makes the Secret artifact-store-tls for a trial: a certificate for the Service,
# signed by a new certificate authority. The authority's key is discarded; clients
# trust ca.crt in the Secret. In production let cert-manager or the like make the
# Secret, and renew it.
#
#   NAMESPACE   artifact-store
#   DAYS        how long it is valid (default 365)
set -euo pipefail
cd "$(dirname "$0")/.."

namespace=${NAMESPACE:-artifact-store}
if [ -z "${KUBECTL:-}" ]; then
	hack/build-tools.sh kubectl
	KUBECTL=$(hack/build-tools.sh --path kubectl)/kubectl
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "${DAYS:-365}")
openssl req -x509 "${key[@]}" -keyout "$work/ca.key" -out "$work/ca.crt" -subj "/CN=artifact-store CA" \
	-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
openssl req -x509 "${key[@]}" -keyout "$work/tls.key" -out "$work/tls.crt" -subj "/CN=artifact-store" \
	-CA "$work/ca.crt" -CAkey "$work/ca.key" -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth \
	-addext "subjectAltName=DNS:artifact-store,DNS:artifact-store.$namespace,DNS:artifact-store.$namespace.svc,DNS:artifact-store.$namespace.svc.cluster.local,DNS:localhost" 2>/dev/null
"$KUBECTL" -n "$namespace" create secret generic artifact-store-tls --type=kubernetes.io/tls --dry-run=client -o yaml \
	--from-file=tls.crt="$work/tls.crt" --from-file=tls.key="$work/tls.key" --from-file=ca.crt="$work/ca.crt" |
	"$KUBECTL" apply -f -
