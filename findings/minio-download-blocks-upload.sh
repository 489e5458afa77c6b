#!/bin/bash
# FINDING   MinIO lets a PUT of a key wait until every GET of that key has ended, for as
#           long as a client takes to read: one slow download holds up all writers.
# PACKAGE   github.com/minio/minio v0.0.0-20260212201848-7aac2a2c5b7c
# EXPECTED  Readers do not hold up writers; a read during a write returns the old or the new object:
#           https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel
# SEEN      @SEEN@
# REPORTED  not yet
# USED BY   pkg/storage/s3/held.go: content that is there is compared and not written again
set -euo pipefail
version=v0.0.0-20260212201848-7aac2a2c5b7c
tmp=$(mktemp -d)
server='' reader=''
finish() {
	[ -z "$reader" ] || kill "$reader" 2>/dev/null || true
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	rm -rf "$tmp"
}
trap finish EXIT
CGO_ENABLED=0 GOBIN="$tmp" go install "github.com/minio/minio@$version" || exit 2
export MINIO_ROOT_USER=finding MINIO_ROOT_PASSWORD=not-a-secret MINIO_UPDATE=off MINIO_BROWSER=off
port=$(shuf -n 1 -i 20000-30000)
"$tmp/minio" server --quiet --address "127.0.0.1:$port" "$tmp/objects" >"$tmp/log" 2>&1 &
server=$!
for _ in $(seq 300); do curl -sf "http://127.0.0.1:$port/minio/health/ready" >/dev/null && break || sleep 0.1; done

s3=(curl -s -o /dev/null --aws-sigv4 aws:amz:us-east-1:s3 --user finding:not-a-secret)
put() { # KEY SECONDS: the status, 000 if there is none in time
	"${s3[@]}" -w '%{http_code}' --max-time "$2" -T "$tmp/small" "http://127.0.0.1:$port/bucket/$1" || true
}
head -c 64M /dev/zero >"$tmp/large"
echo small >"$tmp/small"
"${s3[@]}" -f -X PUT "http://127.0.0.1:$port/bucket"
"${s3[@]}" -f -T "$tmp/large" "http://127.0.0.1:$port/bucket/key"

"${s3[@]}" --limit-rate 64k "http://127.0.0.1:$port/bucket/key" &
reader=$!
sleep 2
other=$(put other 10)
during=$(put key 10)
kill "$reader"
wait "$reader" 2>/dev/null || true
reader=
after=$(put key 30)
echo "while bucket/key is downloaded slowly: PUT bucket/other $other, PUT bucket/key $during within 10 s; after the download: $after"
[ "$other $during $after" = "200 000 200" ] || {
	echo "it has changed: expected 200 000 200"
	exit 1
}
echo "as stated: MinIO $version lets a PUT wait for the downloads of the key"
