package server

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// immutable: the address contains a digest or a version. It is private because
// each request is authorized.
const immutable = "private, max-age=31536000, immutable"

func (h *handler) getBlob(w *serving.Writer, r *http.Request) error {
	name, err := digest.Parse(r.PathValue("digest"))
	if err != nil {
		return registry.Invalid("digest", "must be sha256:<64 hex digits> or blake3:<64 hex digits>")
	}
	if r, err = withHolder(r); err != nil {
		return err
	}
	return serving.Send(w, r, h.blob(name))
}

// withHolder puts into the context whose package the blob belongs to, if the request says so.
func withHolder(r *http.Request) (*http.Request, error) {
	producer := r.URL.Query().Get("producer")
	if producer == "" {
		return r, nil
	}
	if err := registry.ValidateName("producer", producer); err != nil {
		return r, err
	}
	return r.WithContext(registry.WithHolder(r.Context(), producer)), nil
}

func (h *handler) blob(name digest.Digest) serving.Representation {
	return serving.Representation{
		Head: func(ctx context.Context) (serving.Info, error) {
			info, err := h.registry.HeadBlob(ctx, name)
			return serving.Info(info), err
		},
		Open: func(ctx context.Context, rng *storage.Range) (io.ReadCloser, serving.Info, error) {
			body, info, err := h.registry.OpenBlob(ctx, name, rng)
			return body, serving.Info(info), err
		},
		Describe: describe("application/octet-stream"),
	}
}

// getPackageFile serves a file's bytes as those of a blob, or its FileInfo. The
// media type that a producer declared is in the FileInfo only, never in
// Content-Type: a browser must not run stored content on this origin.
func (h *handler) getPackageFile(w *serving.Writer, r *http.Request) error {
	described, err := wire.QueryBool(r.URL.Query(), "describe")
	if err != nil {
		return err
	}
	ref := registry.PackageRef{Producer: r.PathValue("producer"), Name: r.PathValue("name"), Version: r.PathValue("version")}
	path := r.PathValue("path")
	if described {
		file, err := h.registry.FindFile(r.Context(), ref, path)
		if err != nil {
			return err
		}
		return sendJSON(w, http.StatusOK, file)
	}
	return serving.Send(w, r, serving.Representation{
		Head: func(ctx context.Context) (serving.Info, error) {
			file, err := h.registry.FindFile(ctx, ref, path)
			return serving.Info{Digests: file.Digests, Size: file.Size}, err
		},
		Open: func(ctx context.Context, rng *storage.Range) (io.ReadCloser, serving.Info, error) {
			body, info, err := h.registry.OpenFile(ctx, ref, path, rng)
			return body, serving.Info(info), err
		},
		Describe: describe("application/octet-stream"),
	})
}

// getManifest serves a manifest as canonical CBOR, or as JSON. It may have 32
// MiB, so neither is ever in memory as a whole.
func (h *handler) getManifest(w *serving.Writer, r *http.Request) error {
	name, err := digest.Parse(r.PathValue("digest"))
	if err != nil || name.Algorithm() != digest.SHA256 {
		return registry.Invalid("digest", "must be sha256:<64 hex digits>")
	}
	if r, err = withHolder(r); err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept")
	contentType := "application/cbor"
	switch accept := r.Header.Get("Accept"); {
	case strings.Contains(accept, manifest.MediaType):
		contentType = manifest.MediaType
	case strings.Contains(accept, "application/json") && !strings.Contains(accept, contentType):
		asJSON := manifestJSON{registry: h.registry, name: name}
		return serving.Send(w, r, serving.Representation{Head: asJSON.head, Open: asJSON.open, Describe: describe("application/json")})
	}
	return serving.Send(w, r, serving.Representation{
		Head: func(ctx context.Context) (serving.Info, error) {
			info, err := h.registry.HeadManifest(ctx, name)
			return serving.Info(info), err
		},
		Open: func(ctx context.Context, rng *storage.Range) (io.ReadCloser, serving.Info, error) {
			body, info, err := h.registry.OpenManifest(ctx, name, rng)
			return body, serving.Info(info), err
		},
		Describe: describe(contentType),
	})
}

// manifestJSON is a manifest in JSON, which is made again for each pass over it.
// It is for one request.
type manifestJSON struct {
	registry registry.Registry
	name     digest.Digest
	text     *manifest.JSON
	info     serving.Info
}

func (m *manifestJSON) head(ctx context.Context) (serving.Info, error) {
	if m.text != nil {
		return m.info, nil
	}
	text, err := manifest.NewJSON(m.name, func() (io.ReadCloser, error) {
		body, _, err := m.registry.OpenManifest(ctx, m.name, nil)
		return body, err
	})
	hasher := digest.NewHasher()
	if err == nil {
		err = text.Write(hasher)
	}
	m.text, m.info = text, serving.Info{Digests: hasher.Sum(), Size: hasher.Size()}
	return m.info, err
}

func (m *manifestJSON) open(ctx context.Context, rng *storage.Range) (io.ReadCloser, serving.Info, error) {
	if _, err := m.head(ctx); err != nil {
		return nil, m.info, err
	}
	if rng == nil {
		rng = &storage.Range{Length: m.info.Size}
	}
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(m.text.Write(writer)) }() //nolint:errcheck // never fails
	if _, err := io.CopyN(io.Discard, reader, rng.Offset); err != nil {
		reader.Close() //nolint:errcheck // never fails
		return nil, m.info, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(reader, rng.Length), reader}, m.info, nil
}

// describe sets the headers of every answer with bytes.
func describe(contentType string) func(http.Header, serving.Info) {
	return func(header http.Header, info serving.Info) {
		header.Set("Content-Type", contentType)
		header.Set("Etag", serving.ETag(info.Digests.SHA256))
		header.Set(wire.ReprDigest, wire.FormatDigests(info.Digests))
		header.Set("Accept-Ranges", "bytes")
		header.Set("Cache-Control", immutable)
	}
}
