package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/regular"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Get implements storage.Store. The reader is an io.WriterTo, so that io.Copy to a
// connection uses sendfile.
func (b *Backend) Get(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, storage.Info{}, err
	}
	key := storage.Key(name)
	file, stat, err := b.files.Open(key)
	if err != nil {
		return nil, storage.Info{}, b.readError("open", key, err)
	}
	r, err := newReader(file, stat.Size(), rng)
	if err != nil {
		file.Close() //nolint:errcheck // opened for reading only
		return nil, storage.Info{}, b.readError("read", key, err)
	}
	return r, infoOf(name, stat), nil
}

func newReader(file *os.File, size int64, rng *storage.Range) (*reader, error) {
	all := storage.Range{Length: size}
	if rng == nil {
		rng = &all
	}
	if err := rng.Within(size); err != nil {
		return nil, err
	}
	if rng.Offset > 0 {
		if _, err := file.Seek(rng.Offset, io.SeekStart); err != nil {
			return nil, err
		}
	}
	return &reader{file: file, rest: io.LimitedReader{R: file, N: rng.Length}}, nil
}

// Head implements storage.Store.
func (b *Backend) Head(ctx context.Context, name digest.Digest) (storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	key := storage.Key(name)
	stat, err := b.root.Stat(key)
	if err == nil && !stat.Mode().IsRegular() {
		err = &regular.KindError{Name: key, Kind: regular.KindOf(stat.Mode())}
	}
	if err != nil {
		return storage.Info{}, b.readError("stat", key, err)
	}
	return infoOf(name, stat), nil
}

// Delete implements storage.Store.
func (b *Backend) Delete(ctx context.Context, name digest.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key := storage.Key(name)
	err := b.root.Remove(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncFolder(b.root.Root, path.Dir(key))
	}
	return placeError("delete "+key+" in", b.config.Place(), err)
}

// List implements storage.Store: folders and the names in each are sorted, which is
// the order of the digests.
func (b *Backend) List(ctx context.Context) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		tree := b.root.FS()
		err := fs.WalkDir(tree, string(digest.SHA256), func(key string, entry fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // not created yet, or removed meanwhile
			}
			if err != nil {
				return told(yield(storage.Info{}, placeError("list "+key+" in", b.config.Place(), err)))
			}
			name, ok := storage.ParseKey(key)
			if !ok || !entry.Type().IsRegular() {
				return nil
			}
			stat, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return told(yield(storage.Info{}, placeError("stat "+key+" in", b.config.Place(), err)))
			}
			return told(yield(infoOf(name, stat), nil))
		})
		if err != nil {
			yield(storage.Info{}, err)
		}
	}
}

// told goes on in a walk if the caller wants more. What cannot be listed keeps it from
// nothing else.
func told(more bool) error {
	if more {
		return nil
	}
	return fs.SkipAll
}

func infoOf(name digest.Digest, stat fs.FileInfo) storage.Info {
	return storage.Info{Digests: digest.Dual{SHA256: name}, Size: stat.Size(), Modified: stat.ModTime()}
}

// readError distinguishes a missing blob, the usual case, from faults of the place.
func (b *Backend) readError(attempt, key string, err error) error {
	var kind *regular.KindError
	switch {
	case errors.As(err, &kind):
		return b.notAFile(storage.ErrNotFound, key, kind)
	case errors.Is(err, storage.ErrRange):
		return fmt.Errorf("%s: %w", key, err)
	case errors.Is(err, fs.ErrNotExist):
		if _, rootErr := os.Stat(b.config.Place()); rootErr != nil {
			return placeError(attempt+" "+key+" in", b.config.Place(), rootErr)
		}
		return fmt.Errorf("%s: %w", key, storage.ErrNotFound)
	}
	return placeError(attempt+" "+key+" in", b.config.Place(), err)
}

// notAFile is the error for what is in the place of a file.
func (b *Backend) notAFile(sentinel error, key string, kind *regular.KindError) error {
	return &storage.PlaceError{Kind: sentinel, Reason: storage.ReasonNotAFile,
		Message: fmt.Sprintf("%s in %s is a %s, not a file", key, b.config.Place(), kind.Kind)}
}

// reader returns exactly the bytes of the range, or an error.
type reader struct {
	file *os.File
	rest io.LimitedReader
}

var _ io.WriterTo = (*reader)(nil)

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.rest.Read(p)
	if err == io.EOF && r.rest.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteTo passes w the types for which net/http and net use sendfile.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, &r.rest)
	if err == nil && r.rest.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *reader) Close() error { return r.file.Close() }
