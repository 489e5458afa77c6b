// Package formbody reads a form of several parts (multipart/form-data, RFC 7578) in the
// order in which they come, and holds none of them. Errors are of package registry, and
// name the part.
package formbody

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// maxHeader is how many bytes may stand before the content of a part. mime/multipart
// would hold up to 10 MiB of a part's header.
const maxHeader = 16 << 10

// Reader reads one form. It is for one goroutine.
type Reader struct {
	parts *multipart.Reader
	body  *limited
}

// NewReader reads the form that body is. The error says what Content-Type must be.
func NewReader(body io.Reader, contentType string) (*Reader, error) {
	mediaType, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != "multipart/form-data" || parameters["boundary"] == "" {
		return nil, errors.New("must be multipart/form-data with a boundary")
	}
	from := &limited{from: body, end: []byte("--" + parameters["boundary"] + "--")}
	return &Reader{multipart.NewReader(from, parameters["boundary"]), from}, nil
}

// Part returns the content of the next part, which must have that name and, if it says
// so, that media type.
func (r *Reader) Part(name, mediaType string) (io.Reader, error) {
	part, err := r.next()
	switch {
	case err == io.EOF:
		return nil, registry.Invalid(name, "is missing: the form has no further part")
	case err != nil:
		return nil, err
	case part.FormName() != name:
		return nil, registry.Invalid(name, "is missing: the next part of the form is %.80q", part.FormName())
	}
	// curl sends a file's part as octets unless it is told better.
	if said := part.Header.Get("Content-Type"); said != "" && !wire.IsMediaType(said, mediaType, "application/octet-stream") {
		return nil, registry.Invalid(name, "must be %s, is %.80q", mediaType, said)
	}
	if coding := part.Header.Get("Content-Transfer-Encoding"); coding != "" && !strings.EqualFold(coding, "binary") && !strings.EqualFold(coding, "8bit") {
		return nil, registry.Invalid(name, "must not be encoded (Content-Transfer-Encoding)")
	}
	return &content{part, r.body}, nil
}

// content is that of one part.
type content struct {
	part *multipart.Part
	body *limited
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.part.Read(p)
	switch {
	case err == nil, err == io.EOF:
	case c.body.failed != nil:
		err = c.body.failed
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errCut()
	}
	return n, err
}

func errCut() error { return registry.Invalid("body", "is an incomplete form: its end is missing") }

// End wants the end of the form.
func (r *Reader) End() error {
	part, err := r.next()
	switch {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	}
	return registry.Invalid("body", "has a part too many, %.80q", part.FormName())
}

func (r *Reader) next() (*multipart.Part, error) {
	r.body.left = maxHeader
	part, err := r.parts.NextRawPart()
	r.body.left = -1
	switch {
	case r.body.failed != nil:
		return nil, r.body.failed
	case err == nil, err == io.EOF && r.body.ended:
		return part, err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF): // mime/multipart takes a cut within a header for the end
		return nil, errCut()
	}
	return nil, registry.Invalid("body", "is not a form: %v", err)
}

// limited fails after left bytes; none are counted while that is negative.
type limited struct {
	from   io.Reader
	left   int64
	failed error // what the body said, but for its end

	end   []byte // the last line of the form
	last  []byte // what was read last, shorter than end
	ended bool   // that line was read
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left == 0 {
		l.failed = registry.Invalid("body", "has more than %d bytes before the content of a part", maxHeader)
		return 0, l.failed
	}
	if l.left > 0 {
		p = p[:min(int64(len(p)), l.left)]
	}
	n, err := l.from.Read(p)
	if l.left > 0 {
		l.left -= int64(n)
	}
	if err != nil && err != io.EOF {
		l.failed = err
	}
	if !l.ended {
		before := append(l.last, p[:min(n, len(l.end)-1)]...)
		l.ended = bytes.Contains(before, l.end) || bytes.Contains(p[:n], l.end)
		if n >= len(l.end) {
			before = p[:n]
		}
		l.last = append(l.last[:0], before[max(0, len(before)-len(l.end)+1):]...)
	}
	return n, err
}
