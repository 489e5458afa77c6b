package serving

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/coulomb/artifact-store/pkg/shares"
)

// LargeBodies limits the large bodies that requests hold in memory at a time, so
// that memory depends on configuration and not on the number of clients. Places
// are lent in turns between holders. A request that streams its body needs none.
// Safe for concurrent use.
type LargeBodies struct {
	places  *shares.Pool // of bytes
	total   int64
	small   int64
	timeout time.Duration
}

// NewLargeBodies returns one for bodies of total bytes. A body of at most small
// bytes needs no place; one that is larger than total, or of unknown length, takes
// all of them. A body with a place must arrive within the timeout, and at
// leastRate while another one waits, so that a slow client does not block the others.
func NewLargeBodies(total, small int64, timeout time.Duration) *LargeBodies {
	return &LargeBodies{shares.New(total), total, small, timeout}
}

// Needs reports whether a body may need a place.
func (l *LargeBodies) Needs(r *http.Request) bool {
	return r.ContentLength < 0 || r.ContentLength > l.small
}

// Enter waits for a place, at most until the request's context ends, and only
// once the body has begun to arrive: who sends next to nothing never has one.
// Call leave when the memory that the body takes is free again. The caller has
// found out before that the request may be made.
func (l *LargeBodies) Enter(w *Writer, r *http.Request) (leave func(), err error) {
	if !l.Needs(r) {
		return func() {}, nil
	}
	head := make([]byte, headOfLarge)
	n, err := io.ReadFull(r.Body, head)
	r.Body = resumed{io.MultiReader(bytes.NewReader(head[:n]), r.Body), r.Body}
	switch {
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF): // the whole body
		return func() {}, nil
	case err != nil:
		return nil, err
	}
	length := r.ContentLength
	if length < 0 {
		length = l.total
	}
	place, err := l.places.Take(r.Context(), length)
	if err != nil {
		return nil, err
	}
	if w.body == nil {
		return place.Return, nil
	}
	w.body.until = time.Now().Add(l.timeout)
	w.body.renewed = time.Unix(1, 0) // so that the next read sets a deadline
	calm, calmAnswer := w.body.Hurry(l.places.Crowded(), leastRate), w.hurry(l.places.Crowded())
	return func() { calm(); calmAnswer(); place.Return() }, nil
}

// resumed is a body of which some was read.
type resumed struct {
	io.Reader
	io.Closer
}

// ReadAll reads a body into memory of its size, which is negative if it is not
// known: then in pieces, since what grows by doubling ends with twice the size.
func ReadAll(body io.Reader, size int64) ([]byte, error) {
	if size < 0 {
		size = pieceOfBody
	}
	piece := make([]byte, size+1) // with room to see the end
	var pieces [][]byte
	for {
		n, err := 0, error(nil)
		for n < len(piece) && err == nil {
			var read int
			read, err = body.Read(piece[n:])
			n += read
		}
		pieces = append(pieces, piece[:n])
		switch {
		case err == io.EOF && len(pieces) == 1:
			return pieces[0], nil
		case err == io.EOF:
			return bytes.Join(pieces, nil), nil
		case err != nil:
			return nil, err
		}
		piece = make([]byte, pieceOfBody)
	}
}
