package reading

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// smallManifest is the size up to which a manifest is read from the log at once,
	// in bytes: as much as a connection may take. Most have less.
	smallManifest = 64 << 10
	// manifestPiece of a larger one is read from the log at a time, if no backend
	// gives it. The database looks at the whole record for each.
	manifestPiece = 64 << 10
)

// GetManifest implements Packages.
func (r *Reader) GetManifest(ctx context.Context, name digest.Digest) ([]byte, error) {
	body, _, err := r.OpenManifest(ctx, name, nil)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	return data, errors.Join(err, body.Close())
}

// HeadManifest implements Packages.
func (r *Reader) HeadManifest(ctx context.Context, name digest.Digest) (registry.BlobInfo, error) {
	if _, err := r.findManifest(ctx, name); err != nil {
		return registry.BlobInfo{}, err
	}
	return r.HeadBlob(ctx, name)
}

// OpenManifest implements Packages. Every manifest is in the log, so it needs no
// backend. A large one would take as much memory for each reader, however slow,
// so it is sent as the blob that it is; where no backend gives it, the log does, in pieces.
func (r *Reader) OpenManifest(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	p, err := r.findManifest(ctx, name)
	if err != nil {
		return nil, registry.BlobInfo{}, err
	}
	info, err := r.HeadBlob(ctx, name)
	if err != nil {
		return nil, info, err
	}
	if rng == nil {
		rng = &storage.Range{Length: info.Size}
	}
	if rng.Offset < 0 || rng.Length < 0 || rng.Offset > info.Size || rng.Length > info.Size-rng.Offset {
		return nil, info, storage.ErrRange
	}
	if info.Size > smallManifest {
		body, _, err := r.OpenBlob(ctx, name, rng)
		if err == nil {
			return body, info, nil
		}
		if ctx.Err() != nil {
			return nil, info, err
		}
	}
	at, err := r.manifestAt(ctx, p.Position)
	if err != nil {
		return nil, info, err
	}
	rest := &logged{ctx: ctx, reader: r, position: p.Position, at: at + rng.Offset, left: rng.Length}
	if rng.Length <= smallManifest {
		data, err := io.ReadAll(rest)
		return io.NopCloser(bytes.NewReader(data)), info, err
	}
	return io.NopCloser(rest), info, nil
}

func (r *Reader) findManifest(ctx context.Context, name digest.Digest) (p view.Package, err error) {
	err = r.core.Read(ctx, func(tx database.Tx) (err error) {
		p, err = view.FindManifest(ctx, tx, name)
		return err
	})
	return p, err
}

// manifestAt returns where the manifest begins in the payload of its publication.
func (r *Reader) manifestAt(ctx context.Context, position uint64) (int64, error) {
	front, err := r.core.ReadPayload(ctx, position, 0, event.FrontBytes)
	if err != nil {
		return 0, err
	}
	_, at, err := event.PublishedFront(front)
	if err != nil {
		return 0, fmt.Errorf("event %d: %w", position, err)
	}
	return int64(at), nil
}

// logged reads a part of a record, and holds a piece of it.
type logged struct {
	ctx      context.Context
	reader   *Reader
	position uint64
	at, left int64 // of what was not read yet
	piece    []byte
}

func (l *logged) Read(p []byte) (int, error) {
	if len(l.piece) == 0 {
		if l.left == 0 {
			return 0, io.EOF
		}
		piece, err := l.reader.core.ReadPayload(l.ctx, l.position, l.at, int(min(l.left, manifestPiece)))
		if err != nil {
			return 0, err
		}
		if len(piece) == 0 {
			return 0, fmt.Errorf("event %d ends %d bytes before its manifest: %w", l.position, l.left, io.ErrUnexpectedEOF)
		}
		l.at, l.left, l.piece = l.at+int64(len(piece)), l.left-int64(len(piece)), piece
	}
	n := copy(p, l.piece)
	l.piece = l.piece[n:]
	return n, nil
}
