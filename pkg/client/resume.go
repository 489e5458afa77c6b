package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// The sizes of pieces, in bytes, that SendFile tries one after the other where a proxy
// refuses larger bodies. nginx takes 1 MiB unless it is told otherwise.
var pieceSizes = []int64{8 << 20, 1 << 20, 256 << 10, 32 << 10}

// maxConfused answers in a row may name another offset than the one before: then
// somebody else sends the same file.
const maxConfused = 10

// LargeFile is one that SendFile sends. Open returns its bytes from an offset on; it is
// called again for each attempt, because what is left of an earlier one may still be read.
type LargeFile struct {
	Path       string
	Size       int64
	Digests    Digests // the SHA-256 at least
	Executable bool
	Open       func(offset int64) (io.ReadCloser, error)
	// Kept, unless it is nil, is told how many bytes the registry has, which may also be
	// fewer than before.
	Kept func(offset int64)
	// Pieces, unless it is nil, is told that a proxy limits bodies, and to which size the
	// file is cut.
	Pieces func(size int64)
}

// SendFile sends a declared file so that it goes on where a connection broke, also in
// another program that has the session's id: it asks how much has arrived and sends
// the rest. Where a proxy answers that a body is too large, it sends pieces.
func SendFile(ctx context.Context, store registry.Resumes, patience Patience, id string, file LargeFile) error {
	s := sender{store: store, id: id, file: file, attempts: patience.Begin(), pieces: pieceSizes}
	for {
		if done, err := s.step(ctx); done || !s.goesOn(ctx, err) {
			return err
		}
	}
}

// sender is one SendFile.
type sender struct {
	store    registry.Resumes
	id       string
	file     LargeFile
	attempts *Attempts
	at       int64   // what the registry has, as far as known
	pieces   []int64 // sizes that were not refused yet
	piece    int64   // of a body; 0 is the rest of the file
	confused int     // answers in a row that contradict the one before
}

// step finds out what is there and sends until something fails.
func (s *sender) step(ctx context.Context) (done bool, err error) {
	progress, err := s.store.FileProgress(ctx, s.id, s.file.Path)
	if err != nil {
		return false, err
	}
	for !progress.Complete {
		if progress.Offset > s.file.Size {
			return true, fmt.Errorf("the registry has %d bytes of %q, which has %d", progress.Offset, s.file.Path, s.file.Size)
		}
		s.moved(progress.Offset)
		if progress, err = s.append(ctx); err != nil {
			return false, err
		}
	}
	s.moved(s.file.Size)
	return true, nil
}

// moved notes how far the file is.
func (s *sender) moved(offset int64) {
	if offset > s.at {
		s.attempts.Progress()
		s.confused = 0
	}
	s.at = offset
	if s.file.Kept != nil {
		s.file.Kept(offset)
	}
}

func (s *sender) append(ctx context.Context) (registry.FileProgress, error) {
	size := s.file.Size - s.at
	if s.piece > 0 {
		size = min(size, s.piece)
	}
	body, err := s.file.Open(s.at)
	if err != nil {
		return registry.FileProgress{}, err
	}
	defer body.Close() //nolint:errcheck // it was only read
	reader := io.Reader(body)
	if s.at+size < s.file.Size {
		reader = io.LimitReader(body, size)
	}
	return s.store.AppendFile(ctx, s.id, s.file.Path, registry.Piece{
		Content: registry.Content{Reader: reader, Size: size, Digests: s.file.Digests, Executable: s.file.Executable},
		Offset:  s.at, Complete: s.at+size == s.file.Size, Length: s.file.Size,
	})
}

// goesOn reports whether to try again after a failure. It may wait.
func (s *sender) goesOn(ctx context.Context, err error) bool {
	offset, moved := errors.AsType[*registry.OffsetError](err)
	switch {
	case IsProxyLimit(err):
		for len(s.pieces) > 0 && s.pieces[0] >= s.file.Size-s.at {
			s.pieces = s.pieces[1:]
		}
		if len(s.pieces) == 0 {
			return false
		}
		s.piece, s.pieces = s.pieces[0], s.pieces[1:]
		if s.file.Pieces != nil {
			s.file.Pieces(s.piece)
		}
		return true
	case moved && offset.Got == s.at:
		s.confused++ // what was on its way arrived after all, or was lost
		return s.confused < maxConfused && ctx.Err() == nil
	case errors.Is(err, storage.ErrSource) && isRemote(err): // the registry got a part of the body
		return ctx.Err() == nil && s.attempts.wait(ctx, err, 0)
	}
	return s.attempts.Again(ctx, err)
}

func isRemote(err error) bool {
	_, is := errors.AsType[*RemoteError](err)
	return is
}

// ReadBlob reads a blob of a known size from an offset on. When a connection breaks it
// opens the blob again behind what it has read: the digest names the bytes, so they are
// the same ones. Bytes are not checked; the caller hashes all of them.
func ReadBlob(ctx context.Context, blobs registry.Blobs, patience Patience, name digest.Digest, offset, size int64) io.ReadCloser {
	return &blobReader{ctx: ctx, blobs: blobs, name: name, at: offset, size: size, attempts: patience.Begin()}
}

type blobReader struct {
	ctx      context.Context
	blobs    registry.Blobs
	name     digest.Digest
	at, size int64
	attempts *Attempts
	body     io.ReadCloser
}

func (r *blobReader) Read(p []byte) (int, error) {
	for {
		if r.body == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		n, err := r.body.Read(p)
		if n > 0 {
			r.at += int64(n)
			r.attempts.Progress()
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		r.Close() //nolint:errcheck // it is broken
		switch {
		case r.ctx.Err() != nil:
			return n, r.ctx.Err()
		case !r.attempts.wait(r.ctx, err, 0): // whatever broke it: the next request tells
			return n, err
		case n > 0:
			return n, nil
		}
	}
}

// open opens what is not read yet. The client itself is patient until there is an answer.
func (r *blobReader) open() (err error) {
	var rng *storage.Range
	if r.at > 0 {
		rng = &storage.Range{Offset: r.at, Length: r.size - r.at}
	}
	body, info, err := r.blobs.OpenBlob(r.ctx, r.name, rng)
	if err != nil {
		return err
	}
	if rng != nil && info.Size != r.size {
		body.Close() //nolint:errcheck // it is not read
		return &storage.MismatchError{WantSize: r.size, GotSize: info.Size}
	}
	r.body = body
	return nil
}

// Close ends the request, if there is one.
func (r *blobReader) Close() error {
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}
