package local

import (
	"encoding/hex"
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

// enter opens the folder that holds the blob, and creates it and its parents durably if
// they are missing.
func (f *folders) enter(root *top, name digest.Digest) (folder, error) {
	sum := name.Sum()
	algorithm := string(name.Algorithm())
	above := path.Join(algorithm, hex.EncodeToString(sum[:1]))
	last := hex.EncodeToString(sum[1:2])
	leaf, at := &f.leaves[int(sum[0])<<8|int(sum[1])], path.Join(above, last)
	if leaf.Load() {
		return root.enter(at)
	}
	if first := &f.first[sum[0]]; !first.Load() {
		if err := makeFolder(root.Root, algorithm); err != nil {
			return folder{}, err
		}
		if err := makeFolder(root.Root, above); err != nil {
			return folder{}, err
		}
		first.Store(true)
	}
	parent, err := root.enter(above)
	if err != nil {
		return folder{}, err
	}
	defer parent.close()
	if err := parent.make(last); err != nil {
		return folder{}, err
	}
	// Only now: a reader of true relies on the folder's name being durable.
	leaf.Store(true)
	return root.enter(at)
}

// forget makes the next ensure check again: someone removed a folder.
func (f *folders) forget(name digest.Digest) {
	sum := name.Sum()
	f.leaves[int(sum[0])<<8|int(sum[1])].Store(false)
	f.first[sum[0]].Store(false)
}
