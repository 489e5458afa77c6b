package local

import (
	"encoding/hex"
	"os"
	"path"
	"sync/atomic"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// folders remembers which fan-out folders exist and are durable, so that a put into
// one needs no further system call: 65,536 leaves of about a byte each.
type folders struct {
	first  [1 << 8]atomic.Bool
	leaves [1 << 16]atomic.Bool
}

// ensure creates the folder that holds the blob, and its parents.
func (f *folders) ensure(root *os.Root, name digest.Digest) error {
	sum := name.Sum()
	leaf := &f.leaves[int(sum[0])<<8|int(sum[1])]
	if leaf.Load() {
		return nil
	}
	algorithm := string(name.Algorithm())
	above := path.Join(algorithm, hex.EncodeToString(sum[:1]))
	if first := &f.first[sum[0]]; !first.Load() {
		if err := makeFolder(root, algorithm); err != nil {
			return err
		}
		if err := makeFolder(root, above); err != nil {
			return err
		}
		first.Store(true)
	}
	if err := makeFolder(root, path.Join(above, hex.EncodeToString(sum[1:2]))); err != nil {
		return err
	}
	// Only now: a reader of true relies on the folder's name being durable.
	leaf.Store(true)
	return nil
}

// forget makes the next ensure check again: someone removed a folder.
func (f *folders) forget(name digest.Digest) {
	sum := name.Sum()
	f.leaves[int(sum[0])<<8|int(sum[1])].Store(false)
	f.first[sum[0]].Store(false)
}
