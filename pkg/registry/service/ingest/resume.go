package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// partSize bounds the size of one piece: what an interrupted request can lose at
// most, and what a driver holds in memory.
const partSize = 8 << 20

// FileProgress implements Resumes.
func (in *Intake) FileProgress(ctx context.Context, id, path string) (progress registry.FileProgress, err error) {
	if err := registry.ValidatePath("path", path); err != nil {
		return progress, err
	}
	err = in.core.Read(ctx, func(tx database.Tx) error {
		session, err := in.session(ctx, tx, id)
		if err != nil {
			return err
		}
		progress, err = fileProgress(ctx, tx, id, path)
		progress.Expires = session.Expires
		return err
	})
	return progress, err
}

func fileProgress(ctx context.Context, tx database.Tx, id, path string) (registry.FileProgress, error) {
	file, err := upload.GetFile(ctx, tx, id, path)
	if err != nil {
		return registry.FileProgress{}, err
	}
	progress := registry.FileProgress{Path: path, Digests: file.Digests}
	if file.Size != upload.UnknownSize {
		progress.Size = &file.Size
	}
	if !file.Digests.SHA256.IsZero() {
		if progress.Complete, err = upload.HasContent(ctx, tx, id, file.Digests.SHA256); err != nil {
			return progress, err
		}
		if progress.Complete {
			progress.Offset = max(file.Size, 0)
			return progress, nil
		}
	}
	parts, err := upload.ListParts(ctx, tx, id, path)
	progress.Offset = end(parts)
	return progress, err
}

func end(parts []upload.Part) int64 {
	if len(parts) == 0 {
		return 0
	}
	last := parts[len(parts)-1]
	return last.Start + last.Size
}

// AppendFile implements Resumes.
func (in *Intake) AppendFile(ctx context.Context, id, path string, piece registry.Piece) (registry.FileProgress, error) {
	if err := registry.ValidatePath("path", path); err != nil {
		return registry.FileProgress{}, err
	}
	if err := registry.ValidateDigests("digests", piece.Digests); err != nil {
		return registry.FileProgress{}, err
	}
	session, file, err := in.declaredFile(ctx, id, path, piece.Executable)
	if err != nil {
		return registry.FileProgress{}, err
	}
	progress, err := in.FileProgress(ctx, id, path)
	if err != nil {
		return progress, err
	}
	if progress.Complete {
		return progress, &registry.ConflictError{Field: "path", Message: fmt.Sprintf("%q is complete", path)}
	}
	if piece.Offset != progress.Offset {
		return progress, &registry.OffsetError{Want: progress.Offset, Got: piece.Offset}
	}
	limit, err := in.agreedLength(ctx, session, file, piece)
	if err != nil {
		return progress, err
	}
	store, err := in.writable(session.BackendID, session.BackendName)
	if err != nil {
		return progress, err
	}
	if progress.Offset, err = in.keepParts(ctx, session, path, store, limit, piece); err != nil || !piece.Complete {
		return progress, err
	}
	return in.joinParts(ctx, id, path, store, progress.Offset, registry.Content{Digests: piece.Digests, Executable: piece.Executable})
}

// agreedLength returns how long the file may become. A length that the request
// gives, in either of two ways, must be the known one; a first one is recorded.
func (in *Intake) agreedLength(ctx context.Context, session upload.Session, file upload.File, piece registry.Piece) (int64, error) {
	length := file.Size
	says := []int64{piece.Length}
	if piece.Complete && piece.Size != storage.UnknownSize {
		says = append(says, piece.Offset+piece.Size)
	}
	for _, said := range says {
		switch {
		case said == storage.UnknownSize:
		case said < 0 || said > manifest.MaxFileSize:
			return 0, registry.Invalid("uploadLength", "must be 0 to %d bytes, is %d", int64(manifest.MaxFileSize), said)
		case length == upload.UnknownSize:
			length = said
		case length != said:
			return 0, &registry.LengthError{Want: length, Got: said}
		}
	}
	if length == upload.UnknownSize {
		return manifest.MaxFileSize, nil
	}
	if file.Size != upload.UnknownSize {
		return length, nil
	}
	return length, in.core.Group(ctx, func(tx database.Tx) error {
		return upload.SetSize(ctx, tx, session.ID, file.Path, length)
	})
}

// keepParts stores the piece as parts and returns where the file ends now, also
// if the reader fails. It drops a whole piece that does not match its own digests.
func (in *Intake) keepParts(ctx context.Context, session upload.Session, path string, store storage.Store, limit int64, piece registry.Piece) (int64, error) {
	offset, received := piece.Offset, int64(0)
	body := &brokenOff{from: piece.Reader}
	var hashed *digest.Reader
	if !piece.ContentDigests.IsZero() {
		hashed = digest.NewReader(piece.Reader)
		body.from = hashed
	}
	for body.err == nil {
		// One byte beyond the limit shows that the file is too long.
		part := io.LimitReader(body, min(partSize, limit-offset+1))
		info, err := in.put(ctx, store, storage.Source{Reader: part, Size: storage.UnknownSize})
		if err != nil {
			return offset, fmt.Errorf("storing a part of %q: %w", path, err)
		}
		if info.Size == 0 {
			break
		}
		if offset+info.Size > limit {
			return offset, registry.Invalid("size", "%q was declared with %d bytes, and more were sent", path, limit)
		}
		added := false
		if err := in.core.Group(ctx, func(tx database.Tx) error {
			if err := in.prolong(ctx, tx, session); err != nil {
				return err
			}
			var err error
			added, err = upload.InsertPart(ctx, tx, session.ID, path, upload.Part{Start: offset, Size: info.Size, SHA256: info.Digests.SHA256})
			return err
		}); err != nil {
			return offset, err
		}
		if !added {
			return offset, in.overtaken(ctx, session.ID, path, offset)
		}
		offset += info.Size
		received += info.Size
	}
	if body.err != nil && body.err != io.EOF {
		return offset, fmt.Errorf("%w: %w", storage.ErrSource, body.err)
	}
	if piece.Size != storage.UnknownSize && piece.Size != received {
		return offset, fmt.Errorf("%w: %d bytes were announced, %d arrived", storage.ErrSource, piece.Size, received)
	}
	if hashed != nil && !piece.ContentDigests.Matches(hashed.Sum()) {
		if err := in.core.Group(ctx, func(tx database.Tx) error {
			return upload.DeleteParts(ctx, tx, session.ID, path, piece.Offset)
		}); err != nil {
			return offset, err
		}
		return piece.Offset, registry.Invalid("contentDigest", "the bytes of this request are %s", hashed.Sum().SHA256)
	}
	return offset, nil
}

// overtaken is the error if another request stored the same bytes first.
func (in *Intake) overtaken(ctx context.Context, id, path string, offset int64) error {
	progress, err := in.FileProgress(ctx, id, path)
	if err != nil {
		return err
	}
	return &registry.OffsetError{Want: progress.Offset, Got: offset}
}

// brokenOff ends without an error where its reader fails, and keeps the error, so
// that a store keeps the bytes before it.
type brokenOff struct {
	from io.Reader
	err  error
}

func (b *brokenOff) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, io.EOF
	}
	n, err := b.from.Read(p)
	if b.err = err; err != nil {
		err = io.EOF
	}
	return n, err
}

// joinParts stores the file that its parts make, which must be size bytes.
func (in *Intake) joinParts(ctx context.Context, id, path string, store storage.Store, size int64, whole registry.Content) (registry.FileProgress, error) {
	var parts []upload.Part
	if err := in.core.Read(ctx, func(tx database.Tx) (err error) {
		parts, err = upload.ListParts(ctx, tx, id, path)
		return err
	}); err != nil {
		return registry.FileProgress{}, err
	}
	if end(parts) != size { // another request joined or lengthened it
		return registry.FileProgress{}, in.overtaken(ctx, id, path, size)
	}
	joined := &partReader{ctx: ctx, store: store, parts: parts}
	defer joined.Close() //nolint:errcheck // it is only read
	whole.Reader, whole.Size = joined, size
	_, err := in.PutFile(ctx, id, path, whole)
	if joined.lost.Load() {
		// A sweep removed a part as it was stored again: start from 0.
		if err := in.core.Group(ctx, func(tx database.Tx) error { return upload.DeleteParts(ctx, tx, id, path, 0) }); err != nil {
			return registry.FileProgress{}, err
		}
		return registry.FileProgress{}, &registry.OffsetError{Want: 0, Got: size}
	}
	if err != nil && !errors.Is(err, storage.ErrMismatch) && !errors.Is(err, registry.ErrInvalid) {
		return registry.FileProgress{}, err // the parts stay, so that the end can be tried again
	}
	// Their objects are orphans now; a sweep removes them.
	if dropped := in.core.Group(ctx, func(tx database.Tx) error { return upload.DeleteParts(ctx, tx, id, path, 0) }); err == nil {
		err = dropped
	}
	if err != nil {
		return registry.FileProgress{}, err
	}
	return in.FileProgress(ctx, id, path)
}

// partReader reads parts one after the other.
type partReader struct {
	ctx   context.Context
	store storage.Store
	parts []upload.Part
	open  io.ReadCloser
	lost  atomic.Bool // a part is not there
}

func (r *partReader) Read(p []byte) (int, error) {
	for {
		if r.open == nil {
			if len(r.parts) == 0 {
				return 0, io.EOF
			}
			body, _, err := r.store.Get(r.ctx, r.parts[0].SHA256, nil)
			if err != nil {
				r.lost.Store(errors.Is(err, storage.ErrNotFound))
				return 0, fmt.Errorf("reading a part back: %w", err)
			}
			r.open, r.parts = body, r.parts[1:]
		}
		n, err := r.open.Read(p)
		if err == io.EOF {
			err = r.open.Close()
			r.open = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close ends the part being read.
func (r *partReader) Close() error {
	if r.open == nil {
		return nil
	}
	return r.open.Close()
}
