package client

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"sync"
	"sync/atomic"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// PutFiles implements registry.Bundles by a tar archive in one request. A file
// of unknown size, which tar cannot carry, is sent by a separate PutFile. next is
// called from another goroutine, which has ended when PutFiles returns.
func (c *Client) PutFiles(ctx context.Context, id string, next func() (registry.NamedContent, error)) (registry.Bundled, error) {
	if id == "" {
		return registry.Bundled{}, registry.ErrNotFound
	}
	from, into := io.Pipe()
	var alone registry.Bundled
	packed := make(chan error, 1)
	body := &askedFor{PipeReader: from, begin: func() {
		err := c.pack(ctx, id, into, next, &alone)
		into.CloseWithError(err) //nolint:errcheck // never fails; nil is io.EOF
		packed <- err
	}}
	var answer registry.Bundled
	err := c.ask(ctx, call{
		method: http.MethodPost, path: uploadPath(id, "/bundle"), header: http.Header{"Content-Type": {wire.TarMediaType}},
		body: func() (io.Reader, error) { return body, nil }, length: -1, unread: func() bool { return !body.begun.Load() },
	}, nil, &answer)
	from.Close()                           //nolint:errcheck // ends the packing if the server has answered early
	body.once.Do(func() { packed <- nil }) // it does not begin any more
	if failed := <-packed; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		err = failed // the cause of the request's failure
	}
	return registry.Bundled{Files: answer.Files + alone.Files, Bytes: answer.Bytes + alone.Bytes}, err
}

// PublishFiles implements registry.Bundles by one request, whose body is in memory. It is
// repeated: the same package again is no error. errors.ErrUnsupported if the server is too
// old for it; one that is too old for the manifest answers with an *InvalidError.
func (c *Client) PublishFiles(ctx context.Context, req registry.OpenUpload, sent registry.SentManifest, next func() (registry.NamedContent, error)) (answer registry.Publication, err error) {
	if err := req.Validate(); err != nil { // JSON would replace invalid UTF-8
		return answer, err
	}
	if sent.Reader != nil && (sent.Size < 1 || sent.Size > registry.MaxManifestAtOnce) {
		return answer, registry.Invalid("manifestSize", "must be 1 to %d, is %d: a larger manifest needs an upload session", registry.MaxManifestAtOnce, sent.Size)
	}
	described, err := json.Marshal(struct {
		registry.OpenUpload
		ManifestDigest digest.Digest `json:"manifestDigest,omitzero"`
		ManifestSize   int64         `json:"manifestSize,omitempty"`
	}{req, sent.Digest, sent.Size})
	if err != nil {
		return answer, err
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreatePart(partHeader("package", "application/json"))
	if err == nil {
		_, err = part.Write(described)
	}
	if err == nil && sent.Reader != nil {
		part, err = form.CreatePart(partHeader("manifest", "application/cbor"))
		if err == nil {
			_, err = io.CopyN(part, sent.Reader, sent.Size)
		}
	}
	if err == nil {
		part, err = form.CreatePart(partHeader("files", wire.TarMediaType))
	}
	if err == nil {
		err = packAll(&limitedWriter{part, maxPackage}, next)
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		return answer, err
	}
	send := call{method: http.MethodPost, path: "/v1/packages", repeat: true}
	send.setBytes(form.FormDataContentType(), body.Bytes())
	err = c.ask(ctx, send, nil, &answer)
	if remote, is := errors.AsType[*RemoteError](err); is && remote.Status == http.StatusMethodNotAllowed {
		err = fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return answer, err
}

func partHeader(name, mediaType string) textproto.MIMEHeader {
	return textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + name + `"`}, "Content-Type": {mediaType}}
}

// maxPackage bounds the archive of PublishFiles, which is in memory, in bytes: the server
// takes less.
const maxPackage = 2 * registry.MaxBytesAtOnce

type limitedWriter struct {
	into io.Writer
	left int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, registry.Invalid("files", "must have at most %d bytes in one request: more need an upload session", registry.MaxBytesAtOnce)
	}
	return l.into.Write(p)
}

// packAll writes an archive of files of known size.
func packAll(into io.Writer, next func() (registry.NamedContent, error)) error {
	archive := tar.NewWriter(into)
	for {
		file, err := next()
		if errors.Is(err, io.EOF) {
			return archive.Close()
		}
		if err == nil {
			err = writeNamed(archive, file)
		}
		if err != nil {
			return err
		}
	}
}

// writeNamed is writeFile of a path that is valid: tar would change or refuse some others.
func writeNamed(archive *tar.Writer, file registry.NamedContent) error {
	var invalid *manifest.InvalidError
	if errors.As(manifest.ValidatePath(file.Path), &invalid) {
		return &registry.InvalidError{Field: invalid.Field, Message: invalid.Message}
	}
	return writeFile(archive, file)
}

// askedFor is a body that is made from when the server asks for it (Expect:
// 100-continue). Before that it may be sent again.
type askedFor struct {
	*io.PipeReader
	begin func()
	once  sync.Once
	begun atomic.Bool
}

func (a *askedFor) Read(p []byte) (int, error) {
	a.once.Do(func() {
		a.begun.Store(true)
		go a.begin()
	})
	return a.PipeReader.Read(p)
}

func (a *askedFor) Close() error {
	if !a.begun.Load() {
		return nil
	}
	return a.PipeReader.Close()
}

// pack writes the archive.
func (c *Client) pack(ctx context.Context, id string, into io.Writer, next func() (registry.NamedContent, error), alone *registry.Bundled) error {
	buffered := bufio.NewWriterSize(into, 64<<10) // a tar header is 512 bytes, and a pipe passes on each write separately
	archive := tar.NewWriter(buffered)
	for {
		file, err := next()
		if errors.Is(err, io.EOF) {
			return errors.Join(archive.Close(), buffered.Flush())
		}
		if err != nil {
			return err
		}
		if file.Size != storage.UnknownSize {
			if err := writeNamed(archive, file); err != nil {
				return err
			}
			continue
		}
		stored, err := c.PutFile(ctx, id, file.Path, file.Content)
		if err != nil {
			return err
		}
		alone.Files, alone.Bytes = alone.Files+1, alone.Bytes+stored.Size
	}
}

// writeFile adds a file of known size to an archive.
func writeFile(archive *tar.Writer, file registry.NamedContent) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: file.Path, Size: file.Size, Mode: 0o644}
	if file.Executable {
		header.Mode = 0o755
	}
	if digests := wire.FormatDigests(file.Digests); digests != "" {
		header.PAXRecords = map[string]string{wire.DigestRecord: digests}
	}
	if file.Size < 0 {
		return registry.Invalid("size", "of %.200q must not be negative, is %d", file.Path, file.Size)
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	body := &sizedReader{from: file.Reader, size: file.Size, left: file.Size}
	if file.Size == 0 {
		if _, err := body.Read(nil); err != io.EOF {
			return err
		}
		return nil
	}
	_, err := io.Copy(archive, body)
	return err
}
