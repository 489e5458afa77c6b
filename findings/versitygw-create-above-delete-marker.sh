#!/bin/bash
# FINDING   In a bucket with versions, versitygw refuses "If-None-Match: *" for a key
#           whose current version is a delete marker, although a GET of it is 404.
# PACKAGE   github.com/versity/versitygw v1.8.0, posix backend with --versioning-dir
# EXPECTED  The write succeeds if the current version is a delete marker:
#           https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
# SEEN      2026-11-29, Debian 12, amd64:
#           DELETE bucket/key : 204
#           GET bucket/key : 404
#           PUT bucket/key -H If-None-Match: * -d second: 412
# REPORTED  not yet
# USED BY   pkg/storage/s3/marker.go: on 412 with nothing there it writes without the condition
set -euo pipefail
version=v1.8.0
tmp=$(mktemp -d)
server=
finish() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	rm -rf "$tmp"
}
trap finish EXIT
CGO_ENABLED=0 GOBIN="$tmp" go install "github.com/versity/versitygw/cmd/versitygw@$version" || exit 2
mkdir "$tmp/objects" "$tmp/versions" "$tmp/sidecar"
export ROOT_ACCESS_KEY_ID=finding ROOT_SECRET_ACCESS_KEY=not-a-secret
port=$(shuf -n 1 -i 20000-30000)
"$tmp/versitygw" --quiet --port "127.0.0.1:$port" --region us-east-1 --health /health posix --sidecar "$tmp/sidecar" --versioning-dir "$tmp/versions" "$tmp/objects" &
server=$!
for _ in $(seq 100); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break || sleep 0.1; done

# ask METHOD PATH [curl options]: the status
ask() {
	curl -s -o "$tmp/answer" -w '%{http_code}' --aws-sigv4 aws:amz:us-east-1:s3 --user finding:not-a-secret -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" -X "$1" "http://127.0.0.1:$port/$2" "${@:3}"
}
expect() { # STATUS METHOD PATH ...
	local got
	got=$(ask "${@:2}")
	echo "$2 $3 ${*:4}: $got"
	[ "$got" = "$1" ] || {
		echo "expected $1"
		cat "$tmp/answer"
		exit 1
	}
}
expect 200 PUT bucket
expect 200 PUT 'bucket?versioning=' -d '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>'
expect 200 PUT bucket/new -H 'If-None-Match: *' -d first
expect 200 PUT bucket/key -d first
expect 204 DELETE bucket/key
expect 404 GET bucket/key
expect 412 PUT bucket/key -H 'If-None-Match: *' -d second # 200 on Amazon
echo "as stated: versitygw $version refuses to create a key whose current version is a delete marker"
