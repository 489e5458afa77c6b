package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// immutable: the address has a digest, or a version, in it. Private, because
// who may read is decided per request.
const immutable = "private, max-age=31536000, immutable"

// representation is what a GET or HEAD answers with. Both functions are asked
// at most once, and only what the request needs.
type representation struct {
	contentType string
	head        func(context.Context) (registry.BlobInfo, error)
	open        func(context.Context, *storage.Range) (io.ReadCloser, registry.BlobInfo, error)
}

func (h *handler) getBlob(w *responseWriter, r *http.Request) error {
	name, err := digest.Parse(r.PathValue("digest"))
	if err != nil {
		return registry.Invalid("digest", "must be sha256:<64 hex digits> or blake3:<64 hex digits>")
	}
	if r, err = withHolder(r); err != nil {
		return err
	}
	return send(w, r, h.blob(name))
}

// withHolder takes up whose package the blob is said to be of.
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

func (h *handler) blob(name digest.Digest) representation {
	return representation{
		contentType: "application/octet-stream",
		head:        func(ctx context.Context) (registry.BlobInfo, error) { return h.registry.HeadBlob(ctx, name) },
		open: func(ctx context.Context, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
			return h.registry.OpenBlob(ctx, name, rng)
		},
	}
}

// getPackageFile serves a file's bytes as a blob's, or its FileInfo. The media
// type that a producer declared is told in the FileInfo and never served as
// Content-Type: a browser must not run on this origin what somebody stored.
func (h *handler) getPackageFile(w *responseWriter, r *http.Request) error {
	describe, err := queryBool(r.URL.Query(), "describe")
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
	found.head = func(context.Context) (registry.BlobInfo, error) {
		return registry.BlobInfo{Digests: file.Digests, Size: file.Size}, nil
	}
	return send(w, r, found)
}

// getManifest serves the canonical CBOR, or what it says as JSON.
func (h *handler) getManifest(w *responseWriter, r *http.Request) error {
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
	return send(w, r, inMemory(contentType, data))
}

func manifestJSON(data []byte) ([]byte, error) {
	decoded, err := manifest.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("what is stored is not a manifest: %v", err) // a fault of ours, not of the input
	}
	return json.Marshal(decoded)
}

func inMemory(contentType string, data []byte) representation {
	info := registry.BlobInfo{Digests: digest.Of(data), Size: int64(len(data))}
	return representation{
		contentType: contentType,
		head:        func(context.Context) (registry.BlobInfo, error) { return info, nil },
		open: func(_ context.Context, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
			if rng == nil {
				rng = &storage.Range{Length: info.Size}
			}
			return io.NopCloser(bytes.NewReader(data[rng.Offset : rng.Offset+rng.Length])), info, nil
		},
	}
}

// send answers a GET or HEAD with its conditions and its range. A plain GET
// asks the registry once; only a condition or a range needs the size before.
func send(w *responseWriter, r *http.Request, what representation) error {
	ctx := r.Context()
	wantsRange := r.Method == http.MethodGet && r.Header.Get("Range") != ""
	if r.Method == http.MethodGet && !wantsRange && r.Header.Get("If-None-Match") == "" {
		body, info, err := what.open(ctx, nil)
		if err != nil {
			return err
		}
		return sendBody(w, body, what.contentType, info, nil)
	}
	info, err := what.head(ctx)
	if err != nil {
		return err
	}
	tag := etag(info.Digests.SHA256)
	if notModified(r.Header, tag) {
		describe(w.Header(), what.contentType, info)
		w.Header().Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if r.Method == http.MethodHead {
		describe(w.Header(), what.contentType, info)
		w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
		w.WriteHeader(http.StatusOK)
		return nil
	}
	var rng *storage.Range
	if wantsRange && rangeApplies(r.Header, tag) {
		if rng, err = parseRange(r.Header.Get("Range"), info.Size); err != nil {
			w.Header().Set("Content-Range", contentRange(nil, info.Size))
			return err
		}
	}
	body, info, err := what.open(ctx, rng)
	if err != nil {
		return err
	}
	return sendBody(w, body, what.contentType, info, rng)
}

// sendBody copies without a layer between: the reader's WriteTo and the
// writer's ReadFrom find each other, and a file goes out by sendfile.
func sendBody(w *responseWriter, body io.ReadCloser, contentType string, info registry.BlobInfo, rng *storage.Range) error {
	defer body.Close()
	length, status := info.Size, http.StatusOK
	describe(w.Header(), contentType, info)
	if rng != nil {
		length, status = rng.Length, http.StatusPartialContent
		w.Header().Set("Content-Range", contentRange(rng, info.Size))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	w.WriteHeader(status)
	sent, err := io.Copy(w, body)
	if err == nil && sent != length {
		err = fmt.Errorf("the backend gave %d bytes of %d", sent, length)
	}
	return err
}

func describe(header http.Header, contentType string, info registry.BlobInfo) {
	header.Set("Content-Type", contentType)
	header.Set("Etag", etag(info.Digests.SHA256))
	header.Set(reprDigest, formatDigests(info.Digests))
	header.Set("Accept-Ranges", "bytes")
	header.Set("Cache-Control", immutable)
}
