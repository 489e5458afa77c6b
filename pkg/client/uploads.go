package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"unicode/utf8"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func uploadPath(id, rest string) string { return "/v1/uploads/" + wire.Segment(id) + rest }

func filePath(id, path string) string { return uploadPath(id, "/files/"+wire.EscapePath(path)) }

// OpenUpload implements registry.Uploads. It is repeated: a session that nobody
// knows of is empty, and expires.
func (c *Client) OpenUpload(ctx context.Context, req registry.OpenUpload) (answer registry.Upload, err error) {
	if err := req.Validate(); err != nil { // JSON would replace invalid UTF-8
		return answer, err
	}
	err = c.ask(ctx, call{method: http.MethodPost, path: "/v1/uploads", repeat: true}, req, &answer)
	return answer, err
}

// GetUpload implements registry.Uploads.
func (c *Client) GetUpload(ctx context.Context, id string) (answer registry.Upload, err error) {
	if id == "" {
		return answer, registry.ErrNotFound
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: uploadPath(id, ""), repeat: true}, nil, &answer)
	return answer, err
}

// DeclareFiles implements registry.Uploads.
func (c *Client) DeclareFiles(ctx context.Context, id string, files []registry.FileDeclaration) (answer registry.Declared, err error) {
	if id == "" {
		return answer, registry.ErrNotFound
	}
	for i, f := range files {
		if !utf8.ValidString(f.Path) { // JSON would change it into another path
			return answer, registry.Invalid(fmt.Sprintf("files[%d].path", i), "must be UTF-8")
		}
	}
	if files == nil {
		files = []registry.FileDeclaration{}
	}
	err = c.ask(ctx, call{method: http.MethodPost, path: uploadPath(id, "/files"), repeat: true}, struct {
		Files []registry.FileDeclaration `json:"files"`
	}{files}, &answer)
	return answer, err
}

// PutFile implements registry.Uploads. It is repeated if the reader can seek.
func (c *Client) PutFile(ctx context.Context, id, path string, content registry.Content) (answer registry.UploadedFile, err error) {
	if id == "" {
		return answer, registry.ErrNotFound
	}
	send, body, err := contentCall(http.MethodPut, filePath(id, path), content)
	if err != nil {
		return answer, err
	}
	if content.Executable {
		send.query = url.Values{"executable": {"true"}}
	}
	err = body.explain(c.ask(ctx, send, nil, &answer))
	return answer, err
}

// contentBody is the body of the last attempt to send a content. Each attempt has one of
// its own: what is left of an earlier one may still be read.
type contentBody struct{ *sizedReader }

// contentCall makes a request that sends the content.
func contentCall(method, path string, content registry.Content) (call, *contentBody, error) {
	if content.Size < storage.UnknownSize {
		return call{}, nil, registry.Invalid("size", "must not be negative, is %d", content.Size)
	}
	newBody := func(from io.Reader) *sizedReader {
		return &sizedReader{from: from, size: content.Size, left: content.Size}
	}
	body := &contentBody{newBody(content.Reader)}
	made := call{method: method, path: path, header: http.Header{"Content-Type": {"application/octet-stream"}}, length: content.Size}
	if digests := wire.FormatDigests(content.Digests); digests != "" {
		made.header.Set(wire.ReprDigest, digests)
	}
	seeker, seekable := content.Reader.(io.Seeker)
	var start int64
	if seekable {
		var err error
		if start, err = seeker.Seek(0, io.SeekCurrent); err != nil {
			seekable = false // a pipe is also an *os.File
		}
	}
	made.repeat = seekable
	begun := false
	made.body = func() (io.Reader, error) {
		if begun {
			from := content.Reader
			if at, is := from.(io.ReaderAt); is { // whose position an earlier attempt may still move
				from = io.NewSectionReader(at, start, math.MaxInt64-start)
			} else if _, err := seeker.Seek(start, io.SeekStart); err != nil {
				return nil, err
			}
			body.sizedReader = newBody(from)
			return io.NopCloser(body.sizedReader), nil
		}
		begun = true
		if file, isFile := content.Reader.(*os.File); isFile && content.Size > 0 && !content.Digests.SHA256.IsZero() {
			return keptOpen{file}, nil
		}
		if content.Size == 0 { // it is sent without a body, so nothing else would notice further bytes
			if _, err := body.Read(nil); err != io.EOF {
				return nil, err
			}
		}
		// Without Seek and Close: net/http must neither rewind nor close the caller's reader.
		return io.NopCloser(body.sizedReader), nil
	}
	return made, body, nil
}

// keptOpen is a file that the kernel may send without copying it here
// (net.TCPConn.ReadFrom asks for SyscallConn), and that stays open when
// net/http is done. It is used only if the digest is declared: then the server
// notices wrong bytes.
type keptOpen struct{ *os.File }

// Close does nothing: the file is the caller's.
func (keptOpen) Close() error { return nil }

// sizedReader gives exactly size bytes, or an error before the last of them. A
// server that has got as many bytes as announced considers the file complete,
// and must not if the reader has more. For one goroutine.
type sizedReader struct {
	from       io.Reader
	size, left int64 // size is storage.UnknownSize to read to the end
	err        error // of the reader, or of its length
}

func (r *sizedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.size == storage.UnknownSize {
		n, err := r.from.Read(p)
		return n, r.note(err)
	}
	if r.left == 0 {
		if r.size > 0 {
			return 0, io.EOF // the end was checked below
		}
		return 0, r.end()
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.from.Read(p)
	r.left -= int64(n)
	if r.left == 0 && (err == nil || err == io.EOF) {
		if end := r.end(); end != io.EOF {
			return 0, end
		}
		return n, io.EOF
	}
	if err == io.EOF {
		err = &storage.MismatchError{WantSize: r.size, GotSize: r.size - r.left}
		r.err = err
		return n, err
	}
	return n, r.note(err)
}

// end returns io.EOF if the reader has no more.
func (r *sizedReader) end() error {
	if r.from == nil {
		return io.EOF
	}
	var more [1]byte
	for range 100 { // a reader may return neither bytes nor an error, but not forever
		n, err := r.from.Read(more[:])
		if n > 0 {
			r.err = &storage.MismatchError{WantSize: r.size, GotSize: r.size + 1}
			return r.err
		}
		if err != nil {
			return r.note(err)
		}
	}
	return r.note(io.ErrNoProgress)
}

func (r *sizedReader) note(err error) error {
	if err != nil && err != io.EOF {
		r.err = fmt.Errorf("%w: %w", storage.ErrSource, err)
		return r.err
	}
	return err
}

// explain prefers the reader's error to the failure of the request that it caused.
func (r *sizedReader) explain(err error) error {
	var remote *RemoteError
	if err == nil || errors.As(err, &remote) || r.err == nil {
		return err
	}
	return r.err
}

// FileProgress implements registry.Resumes.
func (c *Client) FileProgress(ctx context.Context, id, path string) (answer registry.FileProgress, err error) {
	if id == "" {
		return answer, registry.ErrNotFound
	}
	response, err := c.do(ctx, call{method: http.MethodHead, path: filePath(id, path), repeat: true})
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	return wire.ReadProgress(path, response.Header)
}

// AppendFile implements registry.Resumes. It is not repeated: FileProgress tells
// the caller what arrived.
func (c *Client) AppendFile(ctx context.Context, id, path string, piece registry.Piece) (answer registry.FileProgress, err error) {
	if id == "" {
		return answer, registry.ErrNotFound
	}
	if piece.Offset < 0 {
		return answer, registry.Invalid(wire.UploadOffset, "must not be negative, is %d", piece.Offset)
	}
	send, body, err := contentCall(http.MethodPatch, filePath(id, path), piece.Content)
	if err != nil {
		return answer, err
	}
	send.repeat = false
	send.header.Set("Content-Type", wire.PartialUpload)
	send.header.Set(wire.UploadOffset, strconv.FormatInt(piece.Offset, 10))
	send.header.Set(wire.UploadComplete, wire.FormatBool(piece.Complete))
	if piece.Length != storage.UnknownSize {
		send.header.Set(wire.UploadLength, strconv.FormatInt(piece.Length, 10))
	}
	if digests := wire.FormatDigests(piece.ContentDigests); digests != "" {
		send.header.Set(wire.ContentDigest, digests)
	}
	if piece.Executable {
		send.query = url.Values{"executable": {"true"}}
	}
	err = body.explain(c.ask(ctx, send, nil, &answer))
	return answer, err
}

// Publish implements registry.Uploads.
func (c *Client) Publish(ctx context.Context, id string, manifest []byte) (answer registry.Publication, err error) {
	if id == "" {
		return answer, registry.ErrNotFound
	}
	send := call{method: http.MethodPost, path: uploadPath(id, "/publish"), repeat: true}
	if manifest != nil {
		send.setBytes("application/cbor", manifest)
	}
	err = c.ask(ctx, send, nil, &answer)
	return answer, err
}

// AbandonUpload implements registry.Uploads.
func (c *Client) AbandonUpload(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	return c.ask(ctx, call{method: http.MethodDelete, path: uploadPath(id, ""), repeat: true}, nil, nil)
}
