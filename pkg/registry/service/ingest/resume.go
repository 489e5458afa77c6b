package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/pieces"
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/rules"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// partSize bounds the size of one part: what a crash of the registry can lose. A file that comes whole in
// one request is one part of up to wholePart: if nothing interrupts it, that part is the file.
const (
	partSize, wholePart = 8 << 20, 4 << 30
	straightFor         = 30 * time.Second // see appendLarge
)

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
	if goesStraight(file, store, piece) {
		return in.appendLarge(ctx, session, file, store, piece)
	}
	var last storage.Info
	if progress.Offset, last, err = in.keepParts(ctx, session, path, store, limit, piece); err != nil || !piece.Complete {
		return progress, err
	}
	if piece.Offset == 0 && session.Tier == string(registry.TierHot) && !storage.CopiesStaged(store) && last.Size > 0 && last.Size == progress.Offset {
		return in.takeWhole(ctx, session, file, last, piece.Digests)
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
// if the reader fails, and the last part. It drops a whole piece that does not match its own digests.
func (in *Intake) keepParts(ctx context.Context, session upload.Session, path string, store storage.Store, limit int64, piece registry.Piece) (offset int64, last storage.Info, err error) {
	offset, most, received := piece.Offset, int64(partSize), int64(0)
	tier := ""
	if piece.Offset == 0 && piece.Complete && session.Tier == string(registry.TierHot) && !storage.CopiesStaged(store) {
		// Its bytes are stored as a file's: of another tier they could perhaps not be read back.
		most, tier = wholePart, session.Tier
	}
	body := &pieces.BrokenOff{From: piece.Reader}
	var hashed *digest.Reader
	if !piece.ContentDigests.IsZero() {
		hashed = digest.NewReader(piece.Reader)
		body.From = hashed
	}
	for body.Err == nil {
		// One byte beyond the limit shows that the file is too long.
		part := io.LimitReader(body, min(most, limit-offset+1))
		info, err := in.put(ctx, store, storage.Source{Reader: part, Size: storage.UnknownSize, Tier: tier})
		if err != nil {
			return offset, last, fmt.Errorf("storing a part of %q: %w", path, err)
		}
		if info.Size == 0 {
			break
		}
		if offset+info.Size > limit {
			return offset, last, registry.Invalid("size", "%q was declared with %d bytes, and more were sent", path, limit)
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
			return offset, last, err
		}
		if !added {
			return offset, last, in.overtaken(ctx, session.ID, path, offset)
		}
		offset += info.Size
		received += info.Size
		last = info
	}
	if body.Err != nil && body.Err != io.EOF {
		return offset, last, fmt.Errorf("%w: %w", storage.ErrSource, body.Err)
	}
	if piece.Size != storage.UnknownSize && piece.Size != received {
		return offset, last, fmt.Errorf("%w: %d bytes were announced, %d arrived", storage.ErrSource, piece.Size, received)
	}
	if hashed != nil && !piece.ContentDigests.Matches(hashed.Sum()) {
		if err := in.core.Group(ctx, func(tx database.Tx) error {
			return upload.DeleteParts(ctx, tx, session.ID, path, piece.Offset)
		}); err != nil {
			return offset, last, err
		}
		return piece.Offset, last, registry.Invalid("contentDigest", "the bytes of this request are %s", hashed.Sum().SHA256)
	}
	return offset, last, nil
}

// overtaken is the error if another request stored the same bytes first.
func (in *Intake) overtaken(ctx context.Context, id, path string, offset int64) error {
	progress, err := in.FileProgress(ctx, id, path)
	if err != nil {
		return err
	}
	return &registry.OffsetError{Want: progress.Offset, Got: offset}
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
	joined := pieces.NewReader(ctx, store, parts)
	defer joined.Close() //nolint:errcheck // it is only read
	whole.Reader, whole.Size = joined, size
	_, err := in.PutFile(ctx, id, path, whole)
	if joined.Lost() {
		// A sweep removed a part as it was stored again: start from 0.
		if err := in.core.Group(ctx, func(tx database.Tx) error { return upload.DeleteParts(ctx, tx, id, path, 0) }); err != nil {
			return registry.FileProgress{}, err
		}
		return registry.FileProgress{}, &registry.OffsetError{Want: 0, Got: size}
	}
	return in.ended(ctx, id, path, err)
}

// ended forgets the parts of a file that is stored, or does not match.
func (in *Intake) ended(ctx context.Context, id, path string, err error) (registry.FileProgress, error) {
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

// takeWhole is joinParts of a file that is one part, which has just been stored.
func (in *Intake) takeWhole(ctx context.Context, session upload.Session, file upload.File, stored storage.Info, digests digest.Dual) (registry.FileProgress, error) {
	src, err := rules.Source(session, file, registry.Content{Size: stored.Size, Digests: digests})
	if err == nil {
		err = src.Check(stored.Digests, stored.Size)
	}
	if err == nil {
		err = in.recordStored(ctx, session, []storedFile{{file, stored}})
	}
	return in.ended(ctx, session.ID, file.Path, err)
}

// goesStraight reports whether a piece is a large file of known digest for a place where
// a part that becomes the file costs a copy.
func goesStraight(file upload.File, store storage.Store, piece registry.Piece) bool {
	known := !file.Digests.SHA256.IsZero() || !piece.Digests.SHA256.IsZero()
	return known && piece.Offset == 0 && piece.Complete && piece.Size > 2*partSize && piece.ContentDigests.IsZero() && storage.CopiesStaged(store)
}

// appendLarge keeps the first part. If the rest comes so fast that sending it again is
// no loss (StraightFor), it goes straight to its place, as by PutFile; otherwise it is kept in parts.
func (in *Intake) appendLarge(ctx context.Context, session upload.Session, file upload.File, store storage.Store, piece registry.Piece) (progress registry.FileProgress, err error) {
	timed, first, rest := &pieces.Timed{From: piece.Reader}, piece, piece
	first.Reader, first.Size, first.Complete = io.LimitReader(timed, partSize), partSize, false
	_, kept, err := in.keepParts(ctx, session, file.Path, store, piece.Size, first)
	if err != nil {
		return progress, err
	}
	rest.Offset, rest.Size = partSize, piece.Size-partSize
	if timed.Within(in.StraightFor, partSize, rest.Size) {
		beginning := pieces.NewReader(ctx, store, []upload.Part{{Size: partSize, SHA256: kept.Digests.SHA256}})
		defer beginning.Close() //nolint:errcheck // it is only read
		whole := io.MultiReader(beginning, piece.Reader)
		_, err = in.PutFile(ctx, session.ID, file.Path, registry.Content{Reader: whole, Size: piece.Size, Digests: piece.Digests, Executable: piece.Executable})
		return in.ended(ctx, session.ID, file.Path, err)
	}
	if progress.Offset, _, err = in.keepParts(ctx, session, file.Path, store, piece.Size, rest); err != nil {
		return progress, err
	}
	return in.joinParts(ctx, session.ID, file.Path, store, progress.Offset, registry.Content{Digests: piece.Digests, Executable: piece.Executable})
}
