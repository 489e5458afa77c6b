package local

import (
	"encoding/hex"
	"path"
	"sync/atomic"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// folders remembers which fan-out folders exist and are durable, so that a put into
// one needs no further system call.
type folders struct {
	first  [1 << 8 / 32]atomic.Uint32
	leaves [1 << 16 / 32]atomic.Uint32 // 8 KiB
}

// flag is one bit of a set of them.
type flag struct {
	word *atomic.Uint32
	bit  uint32
}

func flagOf(set []atomic.Uint32, number int) flag { return flag{&set[number/32], 1 << (number % 32)} }

func (f flag) is() bool { return f.word.Load()&f.bit != 0 }
func (f flag) set()     { f.word.Or(f.bit) }
func (f flag) clear()   { f.word.And(^f.bit) }

// of returns the flags of the two folders above a blob.
func (f *folders) of(sum [digest.Size]byte) (first, leaf flag) {
	return flagOf(f.first[:], int(sum[0])), flagOf(f.leaves[:], int(sum[0])<<8|int(sum[1]))
}

// enter opens the folder that holds the blob, and creates it and its parents durably if
// they are missing.
func (f *folders) enter(root *top, name digest.Digest) (folder, error) {
	sum := name.Sum()
	algorithm := string(name.Algorithm())
	above := path.Join(algorithm, hex.EncodeToString(sum[:1]))
	last := hex.EncodeToString(sum[1:2])
	first, leaf := f.of(sum)
	at := path.Join(above, last)
	if leaf.is() {
		return root.enter(at)
	}
	if !first.is() {
		if err := makeFolder(root.Root, algorithm); err != nil {
			return folder{}, err
		}
		if err := makeFolder(root.Root, above); err != nil {
			return folder{}, err
		}
		first.set()
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
	leaf.set()
	return root.enter(at)
}

// forget makes the next ensure check again: someone removed a folder.
func (f *folders) forget(name digest.Digest) {
	first, leaf := f.of(name.Sum())
	leaf.clear()
	first.clear()
}
