package storage

import (
	"path"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// Names below a backend's prefix that are not blobs.
const (
	ReservedPrefix = ".artifactstore"
	MarkerKey      = ReservedPrefix + "/identity"
	HeadMarkKey    = ReservedPrefix + "/head"
	StagingPrefix  = ReservedPrefix + "/staging"
	ProbePrefix    = ReservedPrefix + "/probe"
)

// Key returns a blob's key below the prefix: <algorithm>/<hex[0:2]>/<hex[2:4]>/<hex>.
func Key(name digest.Digest) string {
	hex := name.Hex()
	return string(name.Algorithm()) + "/" + hex[0:2] + "/" + hex[2:4] + "/" + hex
}

// ParseKey is the inverse of Key; ok is false for any other key.
func ParseKey(key string) (name digest.Digest, ok bool) {
	algorithm, rest, _ := strings.Cut(key, "/")
	name, err := digest.Parse(algorithm + ":" + path.Base(rest))
	return name, err == nil && Key(name) == key
}
