package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
	describe, err := wire.QueryBool(r.URL.Query(), "describe")
	if err != nil {
		return err
	}
	ref := registry.PackageRef{Producer: r.PathValue("producer"), Name: r.PathValue("name"), Version: r.PathValue("version")}
	file, err := h.registry.FindFile(r.Context(), ref, r.PathValue("path"))
	if err != nil {
		return err
	}
	r = r.WithContext(registry.WithHolder(r.Context(), ref.Producer))
	if describe {
		return sendJSON(w, http.StatusOK, file)
	}
	found := h.blob(file.Digests.SHA256)
	found.Head = func(context.Context) (serving.Info, error) {
		return serving.Info{Digests: file.Digests, Size: file.Size}, nil
	}
	return serving.Send(w, r, found)
}

// getManifest serves a manifest as canonical CBOR, or as JSON.
func (h *handler) getManifest(w *serving.Writer, r *http.Request) error {
	name, err := digest.Parse(r.PathValue("digest"))
	if err != nil || name.Algorithm() != digest.SHA256 {
		return registry.Invalid("digest", "must be sha256:<64 hex digits>")
	}
	if r, err = withHolder(r); err != nil {
		return err
	}
	data, err := h.registry.GetManifest(r.Context(), name)
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept")
	contentType := "application/cbor"
	switch accept := r.Header.Get("Accept"); {
	case strings.Contains(accept, manifest.MediaType):
		contentType = manifest.MediaType
	case strings.Contains(accept, "application/json") && !strings.Contains(accept, contentType):
		contentType = "application/json"
		if data, err = manifestJSON(data); err != nil {
			return fmt.Errorf("manifest %s: %w", name, err)
		}
	}
	return serving.Send(w, r, inMemory(contentType, data))
}

func manifestJSON(data []byte) ([]byte, error) {
	decoded, err := manifest.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("the stored blob is not a manifest: %v", err) // not the caller's fault, so not wrapped
	}
	return json.Marshal(decoded)
}

func inMemory(contentType string, data []byte) serving.Representation {
	info := serving.Info{Digests: digest.Of(data), Size: int64(len(data))}
	return serving.Representation{
		Head: func(context.Context) (serving.Info, error) { return info, nil },
		Open: func(_ context.Context, rng *storage.Range) (io.ReadCloser, serving.Info, error) {
			if rng == nil {
				rng = &storage.Range{Length: info.Size}
			}
			return io.NopCloser(bytes.NewReader(data[rng.Offset : rng.Offset+rng.Length])), info, nil
		},
		Describe: describe(contentType),
	}
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
