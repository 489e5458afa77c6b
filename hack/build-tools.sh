#!/bin/bash
# Builds the pinned tools and test servers from their Go modules into
# bin/tools/<name>-<version>/, and installs Debian's PostgreSQL, PgBouncer, Ceph
# and strace where they are missing.
#
#   hack/build-tools.sh [kubernetes|kubectl|versitygw|minio|distribution|dev|postgresql|pgbouncer|ceph|strace]...   (none: all but kubectl and distribution)
#   hack/build-tools.sh --path NAME                                           prints the folder of NAME's programs
#
# What exists and is up to date is skipped: a stamp in each folder has the hash
# of the module's go.mod and go.sum and of the functions here that build it.
# They are built one after the other, and concurrent runs wait for each other. If
# KUBEBUILDER_ASSETS is set, kubernetes is skipped; if kubectl is in PATH, kubectl is.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
tools="$root/bin/tools"

export CGO_ENABLED=0 GOWORK=off

# pinned MODULE PATH: the version that hack/tools/MODULE/go.mod requires of PATH.
pinned() {
	awk -v path="$2" '{ sub(/^require /, "") } $1 == path && $2 ~ /^v/ { print $2; exit }' "$root/hack/tools/$1/go.mod"
}

# module NAME: the folder of hack/tools that it is built in.
module() {
	case "$1" in
	kubectl) echo kubernetes ;;
	*) echo "$1" ;;
	esac
}

# fingerprint NAME: the hash of all that makes its programs. A change elsewhere in this script builds nothing anew.
fingerprint() {
	local module
	module="$root/hack/tools/$(module "$1")"
	{
		cat "$module/go.mod" "$module/go.sum"
		declare -f gobuild "build_$1"
	} | sha256sum | cut -d' ' -f1
}

# folder NAME: where its programs are, or will be.
folder() {
	local version
	case "$1" in
	kubernetes) version="$(pinned kubernetes k8s.io/kubernetes)" ;;
	kubectl)
		if command -v kubectl >/dev/null; then
			dirname "$(command -v kubectl)"
			return
		fi
		version="$(pinned kubernetes k8s.io/kubernetes)"
		;;
	versitygw) version="$(pinned versitygw github.com/versity/versitygw)" ;;
	minio) version="$(pinned minio github.com/minio/minio)" ;;
	distribution) version="$(pinned distribution github.com/distribution/distribution/v3)" ;;
	dev) version="$(sha256sum <"$root/hack/tools/dev/go.mod" | cut -c1-12)" ;; # several programs, no common version
	postgresql)
		postgresql_folder || return 1
		return
		;;
	pgbouncer)
		pgbouncer_folder || return 1
		return
		;;
	ceph)
		ceph_folder || return 1
		return
		;;
	strace)
		strace_folder || return 1
		return
		;;
	*)
		echo "unknown tool $1: expected kubernetes, kubectl, versitygw, minio, distribution, dev, postgresql, pgbouncer, ceph or strace" >&2
		return 2
		;;
	esac
	[ -n "$version" ] || { echo "hack/tools/$1/go.mod pins no version" >&2; return 1; }
	echo "$tools/$1-$version"
}

# Debian keeps the server's programs out of PATH, in a folder for each version: the newest.
postgresql_folder() {
	local found
	found="$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1)" || true
	[ -n "$found" ] || found="$(command -v initdb || true)"
	[ -n "$found" ] && dirname "$found"
}

# pgbouncer_folder: Debian has it in a folder that is not in every user's PATH.
pgbouncer_folder() {
	local found
	found="$(PATH="$PATH:/usr/sbin" command -v pgbouncer)" && dirname "$found"
}

# ceph_folder: radosgw, if all that tests start is there as well.
ceph_folder() {
	local program
	for program in ceph ceph-mon ceph-osd monmaptool radosgw-admin radosgw; do
		command -v "$program" >/dev/null || return 1
	done
	dirname "$(command -v radosgw)"
}

strace_folder() {
	local found
	found="$(command -v strace)" && dirname "$found"
}

# gobuild NAME OUT LDFLAGS PACKAGE...
gobuild() {
	local module="$root/hack/tools/$1" out="$2" ldflags="$3"
	shift 3
	(cd "$module" && nice go build -trimpath -buildvcs=false -ldflags "-s -w $ldflags" -o "$out" "$@")
}

# version_flags: with them Kubernetes' programs say their version.
version_flags() {
	local version major minor package
	version="$(pinned kubernetes k8s.io/kubernetes)"
	IFS=. read -r major minor _ <<<"${version#v}"
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		echo "-X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
	done
}

build_kubernetes() {
	gobuild kubernetes "$1/etcd" "" go.etcd.io/etcd/server/v3 # the package's last element is v3
	gobuild kubernetes "$1/" "$(version_flags | tr '\n' ' ')" k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager
}

build_kubectl() {
	gobuild kubernetes "$1/" "$(version_flags | tr '\n' ' ')" k8s.io/kubernetes/cmd/kubectl
}

build_versitygw() {
	gobuild versitygw "$1/" "-X main.Version=$(pinned versitygw github.com/versity/versitygw)" github.com/versity/versitygw/cmd/versitygw
}

build_minio() {
	gobuild minio "$1/" "" github.com/minio/minio
}

build_distribution() {
	gobuild distribution "$1/" "" github.com/distribution/distribution/v3/cmd/registry
}

build_dev() {
	gobuild dev "$1/" "" honnef.co/go/tools/cmd/staticcheck sigs.k8s.io/controller-tools/cmd/controller-gen
}

# stable_links NAME FOLDER: paths for Makefiles and editors that do not change with the version.
stable_links() {
	[ "$1" = dev ] || return 0
	local program
	for program in staticcheck controller-gen; do
		ln -sfn "tools/$(basename "$2")/$program" "$root/bin/$program"
	done
}

ensure() {
	local name="$1" out stamp
	out="$(folder "$name")"
	stamp="$(fingerprint "$name")"
	if [ "$(cat "$out/.stamp" 2>/dev/null)" != "$stamp" ]; then
		echo "building $name into ${out#"$root"/}" >&2
		rm -rf "$out.new"
		mkdir -p "$out.new"
		"build_$name" "$out.new"
		mkdir -p "$out"
		mv -f "$out.new"/* "$out/" # renames: a running program keeps its file
		rmdir "$out.new"
		echo "$stamp" >"$out/.stamp" # last: it says that all is there
	fi
	stable_links "$name" "$out"
}

# installed NAME PACKAGE...: installs Debian's packages unless NAME's programs are there.
installed() {
	local name="$1"
	shift
	"${name}_folder" >/dev/null && return
	if ! command -v apt-get >/dev/null; then
		echo "$name is missing, and this is not Debian: install its programs in PATH" >&2
		return 1
	fi
	local as_root=()
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || { echo "$name is missing: as root, apt-get install --no-install-recommends $*" >&2; return 1; }
		as_root=(sudo)
	fi
	echo "installing $*" >&2
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >&2
	"${name}_folder" >/dev/null || { echo "$name: the packages $* are installed, but programs are missing" >&2; return 1; }
}

ensure_postgresql() {
	installed postgresql postgresql
}

# Its package would run it as a service, which nobody uses here.
ensure_pgbouncer() {
	pgbouncer_folder >/dev/null && return
	installed pgbouncer pgbouncer
	[ -d /run/systemd/system ] || return 0
	local as_root=()
	[ "$(id -u)" = 0 ] || as_root=(sudo)
	"${as_root[@]}" systemctl --quiet disable --now pgbouncer.service
}

# Tests start Ceph's programs themselves. Its packages start no mon, osd or
# radosgw, for want of a configuration; of their services only ceph-crash would
# run, which listens nowhere, and is not wanted here.
ensure_ceph() {
	ceph_folder >/dev/null && return
	installed ceph radosgw ceph-mon ceph-osd ceph-common
	[ -d /run/systemd/system ] || return 0
	local as_root=()
	[ "$(id -u)" = 0 ] || as_root=(sudo)
	"${as_root[@]}" systemctl --quiet disable --now ceph-crash.service
}

ensure_strace() {
	installed strace strace
}

if [ "${1:-}" = --path ]; then
	folder "${2:?a name}"
	exit
fi
[ $# -gt 0 ] || set -- kubernetes versitygw minio dev postgresql pgbouncer ceph strace
mkdir -p "$tools"
exec 9>"$tools/.lock"
flock 9
for name in "$@"; do
	case "$name" in
	postgresql) ensure_postgresql ;;
	pgbouncer) ensure_pgbouncer ;;
	ceph) ensure_ceph ;;
	strace) ensure_strace ;;
	kubectl) command -v kubectl >/dev/null || ensure kubectl ;;
	kubernetes)
		if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
			echo "kubernetes: skipped, KUBEBUILDER_ASSETS is set" >&2
		else
			ensure kubernetes
		fi
		;;
	*) ensure "$name" ;;
	esac
done
