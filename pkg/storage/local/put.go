package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/internal/intake"
)

// syncsAtOnce is how many blobs are synced in parallel: each holds a thread of the
// process while the disk works, and more of them do not make the disk faster.
const syncsAtOnce = 64

// Put implements storage.Store. A blob that fits one small buffer and arrives without
// a pause is verified before any file is created. A larger or slower one is written to
// the disk as it arrives, each buffer as soon as the source pauses: a slow source
// holds no buffer.
func (b *Backend) Put(ctx context.Context, src storage.Source) (storage.Info, error) {
	in := intake.New(src)
	defer in.Close()
	piece, end, err := b.take(ctx, in)
	if err != nil {
		return storage.Info{}, err
	}
	if end {
		return b.putSmall(ctx, src, piece)
	}
	return b.putLarge(ctx, src, in, piece)
}

// take waits for the next bytes of the source, and then for a buffer for them, which
// the caller owns.
func (b *Backend) take(ctx context.Context, in *intake.Intake) (piece []byte, end bool, err error) {
	if err := in.Await(ctx); err != nil {
		return nil, false, err
	}
	buf, err := b.buffers.Get(ctx)
	if err != nil {
		return nil, false, err
	}
	n, end, err := in.Take(ctx, buf)
	if err != nil {
		b.buffers.Put(buf)
		return nil, false, err
	}
	return buf[:n], end, nil
}

func (b *Backend) putSmall(ctx context.Context, src storage.Source, data []byte) (storage.Info, error) {
	got, size := intake.Hash(data), int64(len(data))
	staged, err := func() (*staged, error) {
		defer b.buffers.Put(data)
		if err := src.Check(got, size); err != nil {
			return nil, err
		}
		staged, err := b.stage()
		if err == nil {
			err = staged.write(data, b)
		}
		return staged, err
	}()
	if staged != nil {
		defer staged.discard()
	}
	if err != nil {
		return storage.Info{}, err
	}
	return b.finish(ctx, staged, got, size)
}

// putLarge continues after the first piece. It reads and writes one piece while
// goroutines that need no further buffer hash those before it: see package buffer.
func (b *Backend) putLarge(ctx context.Context, src storage.Source, in *intake.Intake, piece []byte) (storage.Info, error) {
	hasher := digest.NewInPlaceHasher()
	defer hasher.Close()
	staged, err := b.stage()
	if err != nil {
		b.buffers.Put(piece)
		return storage.Info{}, err
	}
	defer staged.discard()
	for end := false; ; {
		written := piece
		if err := staged.write(written, b); err != nil {
			b.buffers.Put(written)
			return storage.Info{}, err
		}
		hasher.Add(written, func() { b.buffers.Put(written) })
		if end {
			break
		}
		if piece, end, err = b.take(ctx, in); err != nil {
			return storage.Info{}, err
		}
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
	root *top // the staging folder
	gone bool // renamed to its final name
}

func (b *Backend) stage() (*staged, error) {
	var random [16]byte
	rand.Read(random[:]) //nolint:errcheck // never fails, by its contract
	name := hex.EncodeToString(random[:])
	// os.Root refuses to follow a link in the last element when O_EXCL is set.
	root, err := b.stagingFolder()
	if err != nil {
		return nil, err
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, blobMode)
	if err != nil {
		return nil, placeError("create a file in staging in", b.config.Path, err)
	}
	return &staged{name: name, file: file, root: root}, nil
}

func (s *staged) write(p []byte, b *Backend) error {
	_, err := s.file.Write(p)
	return placeError("write to staging in", b.config.Path, err)
}

// checkTop fails unless new folders can be made where blobs are. A probe's object is
// elsewhere, and a probe that succeeds must mean that a blob can be stored. Each looks
// into one other folder.
func (b *Backend) checkTop() error {
	top := string(digest.SHA256)
	if _, err := b.place.Lstat(top); errors.Is(err, fs.ErrNotExist) {
		return b.checkFolder(".") // the first blob creates it
	}
	if err := b.checkFolder(top); err != nil {
		return err
	}
	entries, err := fs.ReadDir(b.place.FS(), top)
	if err != nil {
		return nil // a put needs no list
	}
	entries = slices.DeleteFunc(entries, func(entry fs.DirEntry) bool { return len(entry.Name()) != 2 })
	if len(entries) == 0 {
		return nil
	}
	return b.checkFolder(path.Join(top, entries[mathrand.IntN(len(entries))].Name()))
}

func (b *Backend) checkFolder(at string) error {
	var random [16]byte
	rand.Read(random[:]) //nolint:errcheck // never fails, by its contract
	folder := path.Join(at, "probe-"+hex.EncodeToString(random[:]))
	err := b.place.Mkdir(folder, dirMode)
	if err == nil {
		err = b.place.Remove(folder)
	}
	return placeError("create a folder in "+at+" in", b.config.Path, err)
}

// name gives a staged file the name of its blob, and returns the folder, which is to be synced.
func (b *Backend) name(s *staged, blob digest.Digest) (folder, error) {
	leaf, err := b.known.enter(b.root, blob)
	if err != nil {
		return leaf, err
	}
	if err := leaf.take(s.root, s.name, path.Base(storage.Key(blob))); err != nil {
		leaf.close()
		return leaf, err
	}
	s.gone = true
	return leaf, nil
}

// move gives a staged file a name in place.
func (b *Backend) move(s *staged, key string) error {
	err := b.place.Rename(path.Join(storage.StagingPrefix, s.name), b.inPlace(key))
	s.gone = s.gone || err == nil
	return err
}

// inPlace returns the name of a key below place.
func (b *Backend) inPlace(key string) string {
	return path.Join(filepath.ToSlash(b.config.below), key)
}

// discard closes the file and removes it unless it has its final name.
func (s *staged) discard() {
	s.file.Close() //nolint:errcheck // synced or discarded
	if !s.gone {
		s.root.Remove(s.name) //nolint:errcheck // a leftover is harmless
	}
}

// finish gives verified bytes their name. The order matters: first the bytes are
// synced, then the folder exists, then the file is renamed, then the name is synced.
func (b *Backend) finish(ctx context.Context, s *staged, got digest.Dual, size int64) (storage.Info, error) {
	select {
	case b.syncs <- struct{}{}:
		defer func() { <-b.syncs }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	if err := synced(s.file); err != nil {
		return storage.Info{}, placeError("sync a file in staging in", b.config.Path, err)
	}
	info, err := s.file.Stat()
	if err != nil {
		return storage.Info{}, placeError("stat a file in staging in", b.config.Path, err)
	}
	key := storage.Key(got.SHA256)
	if b.config.below != "" {
		if err := b.checkTop(); err != nil {
			return storage.Info{}, err
		}
	}
	leaf, err := b.name(s, got.SHA256)
	if errors.Is(err, fs.ErrNotExist) {
		b.known.forget(got.SHA256)
		leaf, err = b.name(s, got.SHA256)
	}
	if err != nil {
		return storage.Info{}, placeError("store "+key+" in", b.config.Place(), err)
	}
	defer leaf.close()
	if err := leaf.sync(); err != nil {
		return storage.Info{}, placeError("sync "+key+" in", b.config.Place(), err)
	}
	return storage.Info{Digests: got, Size: size, Modified: info.ModTime()}, nil
}
