package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/internal/intake"
)

const (
	// bufferSize is what an upload holds in memory. A blob goes to the disk as
	// it comes, so there is nothing that a larger one would be good for.
	bufferSize = 256 << 10
	// pieces is into how many parts a buffer is cut for large blobs: one is
	// read and written while those before it are hashed.
	pieces = 4
)

// buffers are not those of the process's budget: a client that sends slowly
// holds its buffer for long, and must not keep others from theirs.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Put implements storage.Store. What fits one buffer is verified before any
// file is made.
func (b *Backend) Put(ctx context.Context, src storage.Source) (storage.Info, error) {
	in := intake.New(src)
	defer in.Close()
	if err := in.Await(ctx); err != nil {
		return storage.Info{}, err
	}
	whole := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(whole)
	buf := whole[:]
	n, end, err := in.Fill(ctx, buf)
	if err != nil {
		return storage.Info{}, err
	}
	if end {
		return b.putSmall(ctx, src, buf[:n])
	}
	return b.putLarge(ctx, src, in, buf)
}

func (b *Backend) putSmall(ctx context.Context, src storage.Source, data []byte) (storage.Info, error) {
	got := intake.Hash(data)
	if err := src.Check(got, int64(len(data))); err != nil {
		return storage.Info{}, err
	}
	staged, err := b.stage()
	if err != nil {
		return storage.Info{}, err
	}
	defer staged.discard()
	if _, err := staged.file.Write(data); err != nil {
		return storage.Info{}, placeError("write to staging in", b.config.Place(), err)
	}
	return b.finish(ctx, staged, got, int64(len(data)))
}

// putLarge goes on where the first, full buffer ended.
func (b *Backend) putLarge(ctx context.Context, src storage.Source, in *intake.Intake, buf []byte) (storage.Info, error) {
	staged, err := b.stage()
	if err != nil {
		return storage.Info{}, err
	}
	defer staged.discard()

	hasher := digest.NewInPlaceHasher()
	// Before Put gives the buffer away nobody may read it any more.
	defer hasher.Close()
	free := make(chan []byte, pieces)
	each := len(buf) / pieces
	for i := range pieces {
		piece := buf[i*each : (i+1)*each]
		if i == pieces-1 {
			piece = buf[i*each:]
		}
		if err := staged.write(piece, b); err != nil {
			return storage.Info{}, err
		}
		hasher.Add(piece, func() { free <- piece })
	}
	for end := false; !end; {
		piece := <-free
		var n int
		if n, end, err = in.Fill(ctx, piece); err != nil {
			return storage.Info{}, err
		}
		if err := staged.write(piece[:n], b); err != nil {
			return storage.Info{}, err
		}
		hasher.Add(piece[:n], func() { free <- piece })
	}
	got := hasher.Sum()
	if err := src.Check(got, in.Size()); err != nil {
		return storage.Info{}, err
	}
	return b.finish(ctx, staged, got, in.Size())
}

// staged is a temporary file.
type staged struct {
	name string
	file *os.File
	root *os.Root // staging
	gone bool     // renamed away
}

func (b *Backend) stage() (*staged, error) {
	var random [16]byte
	rand.Read(random[:]) //nolint:errcheck // never fails, by its contract
	name := hex.EncodeToString(random[:])
	// os.Root refuses to follow a link in the last element when O_EXCL is set.
	file, err := b.staging.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, blobMode)
	if err != nil {
		return nil, placeError("make a file in staging in", b.config.Place(), err)
	}
	return &staged{name: name, file: file, root: b.staging}, nil
}

func (s *staged) write(p []byte, b *Backend) error {
	_, err := s.file.Write(p)
	return placeError("write to staging in", b.config.Place(), err)
}

// discard closes the file and removes it unless it has its final name.
func (s *staged) discard() {
	s.file.Close() //nolint:errcheck // synced, or given up
	if !s.gone {
		s.root.Remove(s.name) //nolint:errcheck // a leftover does no harm
	}
}

// finish gives verified bytes their name. The order matters: bytes durable,
// then the folder, then the name, then the name durable.
func (b *Backend) finish(ctx context.Context, s *staged, got digest.Dual, size int64) (storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	if err := s.file.Sync(); err != nil {
		return storage.Info{}, placeError("make durable a file in staging in", b.config.Place(), err)
	}
	info, err := s.file.Stat()
	if err != nil {
		return storage.Info{}, placeError("look at a file in staging in", b.config.Place(), err)
	}
	key := storage.Key(got.SHA256)
	from := path.Join(storage.StagingPrefix, s.name)
	for attempt := 1; ; attempt++ {
		if err = b.known.ensure(b.root, got.SHA256); err == nil {
			err = b.root.Rename(from, key)
		}
		if attempt == 1 && errors.Is(err, fs.ErrNotExist) {
			b.known.forget(got.SHA256)
			continue
		}
		break
	}
	if err != nil {
		return storage.Info{}, placeError("store "+key+" in", b.config.Place(), err)
	}
	s.gone = true
	if err := syncFolder(b.root, path.Dir(key)); err != nil {
		return storage.Info{}, placeError("make durable "+key+" in", b.config.Place(), err)
	}
	return storage.Info{Digests: got, Size: size, Modified: info.ModTime()}, nil
}
