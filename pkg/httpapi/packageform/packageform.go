// Package packageform reads the form that publishes a small package by one request: what
// an upload session would be opened with, then the manifest, if it was announced, and the
// files as a tar archive. Errors are of package registry, and name the field.
package packageform

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/formbody"
	"github.com/coulomb/artifact-store/pkg/httpapi/jsonbody"
	"github.com/coulomb/artifact-store/pkg/httpapi/tarbody"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
)

const (
	// MaxSize bounds the form, in bytes: the manifest, the files, and the archive's headers and padding.
	MaxSize = registry.MaxManifestAtOnce + registry.MaxBytesAtOnce + registry.MaxFilesAtOnce*(4<<10) + 64<<10
	// maxText bounds what describes the package, in bytes of JSON, and maxValues and maxDepth what it has.
	maxText   = 3 * registry.MaxTextsAtOnce
	maxValues = 2*registry.MaxAnnotations + 32
	maxDepth  = 4
)

// Reader reads one form. It is for one goroutine.
type Reader struct {
	body     io.Reader
	form     *formbody.Reader
	manifest sizedPart
	files    io.Reader
	archive  *tarbody.Reader // of files, nil before the first
}

// NewReader reads the form that body is. The error says what Content-Type must be.
func NewReader(body io.Reader, contentType string) (*Reader, error) {
	form, err := formbody.NewReader(body, contentType)
	return &Reader{body: body, form: form}, err
}

// Package reads the part that says which package it is, and goes on to its manifest, if
// there is one.
func (r *Reader) Package() (req registry.OpenUpload, sent registry.SentManifest, err error) {
	part, err := r.form.Part("package", "application/json")
	if err != nil {
		return req, sent, err
	}
	text, err := io.ReadAll(io.LimitReader(part, maxText+1))
	switch {
	case err != nil:
		return req, sent, err
	case len(text) > maxText:
		return req, sent, registry.Invalid("package", "must be at most %d bytes: larger annotations need an upload session", maxText)
	}
	if err := serving.CheckJSON(text, maxValues, maxDepth); err != nil {
		return req, sent, registry.Invalid("package", "%v", err)
	}
	var (
		tier, sum string
		size      *int64
	)
	decoder := jsonbody.NewDecoder(bytes.NewReader(text))
	if err := jsonbody.Object(decoder, "package", []jsonbody.Field{
		{Name: "producer", Into: &req.Producer}, {Name: "name", Into: &req.Name}, {Name: "version", Into: &req.Version},
		{Name: "retentionClass", Into: &req.RetentionClass}, {Name: "tier", Into: &tier}, {Name: "mediaType", Into: &req.MediaType},
		{Name: "annotations", Into: &req.Annotations}, {Name: "manifestDigest", Into: &sum}, {Name: "manifestSize", Into: &size},
	}); err != nil {
		return req, sent, withoutPart(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return req, sent, registry.Invalid("package", "must be one JSON object")
	}
	req.Tier = registry.Tier(tier)
	if size != nil {
		if sent.Size = *size; sent.Size < 1 || sent.Size > registry.MaxManifestAtOnce {
			return req, sent, registry.Invalid("manifestSize", "must be 1 to %d, is %d: a larger manifest needs an upload session", registry.MaxManifestAtOnce, sent.Size)
		}
	}
	if sum != "" {
		if sent.Digest, err = digest.Parse(sum); err != nil || sent.Digest.Algorithm() != digest.SHA256 {
			return req, sent, registry.Invalid("manifestDigest", "%.80q is not of the form sha256:<64 hex digits>", sum)
		}
	}
	if size != nil {
		if r.manifest.from, err = r.form.Part("manifest", "application/cbor"); err != nil {
			return req, sent, err
		}
		r.manifest.size, sent.Reader = sent.Size, &r.manifest
	}
	return req, sent, nil
}

// withoutPart names a field of the package as the registry does.
func withoutPart(err error) error {
	var invalid *registry.InvalidError
	if errors.As(err, &invalid) {
		return &registry.InvalidError{Field: strings.TrimPrefix(invalid.Field, "package."), Message: invalid.Message}
	}
	return err
}

// Next returns the next file, io.EOF after the last one of a complete form: then the whole
// body is here, and right.
func (r *Reader) Next() (registry.NamedContent, error) {
	if r.archive == nil {
		err := r.manifest.end()
		if err == nil {
			r.files, err = r.form.Part("files", wire.TarMediaType)
		}
		if err != nil {
			return registry.NamedContent{}, err
		}
		r.archive = tarbody.NewReader(r.files)
	}
	file, err := r.archive.Next()
	if err != io.EOF {
		return file, err
	}
	if _, err := io.Copy(io.Discard, r.files); err != nil { // the last record is padded with zeros
		return file, err
	}
	if err := r.form.End(); err != nil {
		return file, err
	}
	if _, err := io.Copy(io.Discard, r.body); err != nil {
		return file, err
	}
	return file, io.EOF
}

// sizedPart is a part of the form whose size was announced.
type sizedPart struct {
	from       io.Reader // nil if there is none
	size, read int64
}

func (p *sizedPart) Read(into []byte) (int, error) {
	n, err := p.from.Read(into)
	if p.read += int64(n); err == io.EOF && p.read < p.size {
		err = registry.Invalid("manifestSize", "is %d, the manifest has %d bytes", p.size, p.read)
	}
	return n, err
}

// end wants nothing behind the announced size.
func (p *sizedPart) end() error {
	if p.from == nil {
		return nil
	}
	if _, err := io.ReadFull(p.from, make([]byte, 1)); err != io.EOF {
		return cmp.Or(err, registry.Invalid("manifestSize", "is %d, the manifest has more bytes", p.size))
	}
	return nil
}
