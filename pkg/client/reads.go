package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// ListPackages implements registry.Packages.
func (c *Client) ListPackages(ctx context.Context, filter registry.PackageFilter) (answer registry.PackagePage, err error) {
	err = c.ask(ctx, call{method: http.MethodGet, path: "/v1/packages", query: wire.PackageValues(filter), repeat: true}, nil, &answer)
	return answer, err
}

// ListDamaged implements registry.Packages.
func (c *Client) ListDamaged(ctx context.Context, filter registry.DamageFilter) (answer registry.DamagePage, err error) {
	query := url.Values{}
	for name, value := range map[string]string{"producer": filter.Producer, "name": filter.Name, "version": filter.Version, "after": filter.After} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if filter.Limit != 0 {
		query.Set("limit", strconv.Itoa(filter.Limit))
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: "/v1/damaged", query: query, repeat: true}, nil, &answer)
	return answer, err
}

// GetPackage implements registry.Packages.
func (c *Client) GetPackage(ctx context.Context, ref registry.PackageRef) (answer registry.Package, err error) {
	if err := ref.Validate(); err != nil {
		return answer, err
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: wire.PackageAddress(ref), repeat: true}, nil, &answer)
	return answer, err
}

// GetManifest implements registry.Packages. It checks the bytes against the digest.
func (c *Client) GetManifest(ctx context.Context, name digest.Digest) ([]byte, error) {
	if name.IsZero() {
		return nil, registry.Invalid("digest", "must not be empty")
	}
	get := call{method: http.MethodGet, path: "/v1/manifests/" + name.String(), query: holderQuery(ctx), header: http.Header{"Accept": {"application/cbor"}}, repeat: true}
	var data []byte
	err := c.whole(ctx, get, func(body io.Reader) (err error) {
		if data, err = io.ReadAll(io.LimitReader(body, manifest.MaxSize+1)); err != nil {
			err = fmt.Errorf("reading the manifest %s: %w", name, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if got := manifest.Digest(data); got != name {
		return nil, &storage.MismatchError{Want: digest.Dual{SHA256: name}, Got: digest.Of(data), WantSize: storage.UnknownSize, GotSize: int64(len(data))}
	}
	return data, nil
}

// FindFile implements registry.Blobs.
func (c *Client) FindFile(ctx context.Context, ref registry.PackageRef, path string) (answer registry.FileInfo, err error) {
	if err := ref.Validate(); err != nil {
		return answer, err
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: fileAddress(ref, path), query: url.Values{"describe": {"true"}}, repeat: true}, nil, &answer)
	return answer, err
}

// ListFiles implements registry.Blobs.
func (c *Client) ListFiles(ctx context.Context, ref registry.PackageRef, query registry.FileQuery) (answer registry.FilePage, err error) {
	if err := ref.Validate(); err != nil {
		return answer, err
	}
	values := pageValues(query.After, query.Limit)
	if query.Below != "" {
		values.Set("below", query.Below)
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: wire.PackageAddress(ref) + "/files", query: values, repeat: true}, nil, &answer)
	return answer, err
}

// FindUses implements registry.Blobs.
func (c *Client) FindUses(ctx context.Context, name digest.Digest, query registry.UseQuery) (answer registry.UsePage, err error) {
	if name.IsZero() {
		return answer, registry.Invalid("digest", "must not be empty")
	}
	values := pageValues(query.After, query.Limit)
	if query.Producer != "" {
		values.Set("producer", query.Producer)
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: "/v1/blobs/" + name.String() + "/uses", query: values, repeat: true}, nil, &answer)
	return answer, err
}

func pageValues(after string, limit int) url.Values {
	values := url.Values{}
	if after != "" {
		values.Set("after", after)
	}
	if limit != 0 {
		values.Set("limit", strconv.Itoa(limit))
	}
	return values
}

func fileAddress(ref registry.PackageRef, path string) string {
	return wire.PackageAddress(ref) + "/files/" + wire.EscapePath(path)
}

// OpenFile implements registry.Blobs. If the body ends early, its reader returns an error.
func (c *Client) OpenFile(ctx context.Context, ref registry.PackageRef, path string, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	if err := ref.Validate(); err != nil {
		return nil, registry.BlobInfo{}, err
	}
	return c.openAt(ctx, call{path: fileAddress(ref, path)}, rng)
}

// HeadManifest implements registry.Packages.
func (c *Client) HeadManifest(ctx context.Context, name digest.Digest) (registry.BlobInfo, error) {
	return c.head(ctx, "/v1/manifests/", name)
}

// OpenManifest implements registry.Packages. If the body ends early, its reader returns an error.
func (c *Client) OpenManifest(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	return c.open(ctx, "/v1/manifests/", name, rng)
}

// HeadBlob implements registry.Blobs.
func (c *Client) HeadBlob(ctx context.Context, name digest.Digest) (registry.BlobInfo, error) {
	return c.head(ctx, "/v1/blobs/", name)
}

func (c *Client) head(ctx context.Context, below string, name digest.Digest) (registry.BlobInfo, error) {
	if name.IsZero() {
		return registry.BlobInfo{}, registry.Invalid("digest", "must not be empty")
	}
	return c.headAt(ctx, call{path: below + name.String(), query: holderQuery(ctx)})
}

func (c *Client) headAt(ctx context.Context, head call) (registry.BlobInfo, error) {
	head.method, head.repeat = http.MethodHead, true
	response, err := c.do(ctx, head)
	if err != nil {
		return registry.BlobInfo{}, err
	}
	defer response.Body.Close()
	return blobInfo(response.Header, response.ContentLength)
}

// holderQuery says whose package the blob belongs to.
func holderQuery(ctx context.Context) url.Values {
	if producer := registry.HolderOf(ctx); producer != "" {
		return url.Values{"producer": {producer}}
	}
	return nil
}

func blobInfo(header http.Header, size int64) (registry.BlobInfo, error) {
	digests, err := wire.DeclaredDigests(header)
	if err != nil || digests.SHA256.IsZero() || digests.BLAKE3.IsZero() || size < 0 {
		return registry.BlobInfo{}, fmt.Errorf("the response does not describe a blob: %s %q, size %d", wire.ReprDigest, header.Get(wire.ReprDigest), size)
	}
	return registry.BlobInfo{Digests: digests, Size: size}, nil
}

// OpenBlob implements registry.Blobs. If the body ends early, its reader returns an error.
func (c *Client) OpenBlob(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	return c.open(ctx, "/v1/blobs/", name, rng)
}

func (c *Client) open(ctx context.Context, below string, name digest.Digest, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	if name.IsZero() {
		return nil, registry.BlobInfo{}, registry.Invalid("digest", "must not be empty")
	}
	return c.openAt(ctx, call{path: below + name.String(), query: holderQuery(ctx)}, rng)
}

func (c *Client) openAt(ctx context.Context, get call, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	if rng != nil && (rng.Offset < 0 || rng.Length < 0) {
		return nil, registry.BlobInfo{}, storage.ErrRange
	}
	if rng != nil && rng.Length == 0 {
		return c.openNothing(ctx, get, rng.Offset)
	}
	get.method, get.header, get.repeat = http.MethodGet, http.Header{}, true
	if rng != nil {
		get.header.Set("Range", fmt.Sprintf("bytes=%d-%d", rng.Offset, rng.Offset+rng.Length-1))
	}
	response, err := c.do(ctx, get)
	if err != nil {
		return nil, registry.BlobInfo{}, err
	}
	info, err := openedBlob(response, rng)
	if err != nil {
		response.Body.Close()
		return nil, info, err
	}
	return &exactBody{response.Body, response.ContentLength}, info, nil
}

// openNothing opens an empty range, which HTTP cannot request.
func (c *Client) openNothing(ctx context.Context, at call, offset int64) (io.ReadCloser, registry.BlobInfo, error) {
	info, err := c.headAt(ctx, at)
	if err == nil && offset > info.Size {
		err = storage.ErrRange
	}
	if err != nil {
		return nil, info, err
	}
	return io.NopCloser(bytes.NewReader(nil)), info, nil
}

// openedBlob checks that the answer is what was requested: HTTP lets a server
// shorten a range, or send the whole instead.
func openedBlob(response *http.Response, rng *storage.Range) (registry.BlobInfo, error) {
	if rng == nil {
		return blobInfo(response.Header, response.ContentLength)
	}
	_, total, _ := strings.Cut(response.Header.Get("Content-Range"), "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil || response.StatusCode != http.StatusPartialContent {
		return registry.BlobInfo{}, fmt.Errorf("a range was requested, but the response is %s with Content-Range %q", response.Status, response.Header.Get("Content-Range"))
	}
	info, err := blobInfo(response.Header, size)
	if err == nil && (response.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", rng.Offset, rng.Offset+rng.Length-1, size) || response.ContentLength != rng.Length) {
		err = storage.ErrRange
	}
	return info, err
}

// exactBody returns an error if it ends before its length. net/http does so for
// HTTP/1.1; this works for any transport.
type exactBody struct {
	io.ReadCloser
	left int64
}

func (b *exactBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = fmt.Errorf("the blob ended %d bytes early: %w", b.left, io.ErrUnexpectedEOF)
	}
	return n, err
}

// ListBackends implements registry.Backends.
func (c *Client) ListBackends(ctx context.Context) ([]registry.BackendStatus, error) {
	var answer wire.BackendList
	err := c.ask(ctx, call{method: http.MethodGet, path: "/v1/backends", repeat: true}, nil, &answer)
	return answer.Backends, err
}

// GetBackend implements registry.Backends.
func (c *Client) GetBackend(ctx context.Context, nameOrID string) (answer registry.BackendStatus, err error) {
	if nameOrID == "" {
		return answer, registry.ErrNotFound
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: backendPath(nameOrID, ""), repeat: true}, nil, &answer)
	return answer, err
}

// ProbeBackend implements registry.Backends.
func (c *Client) ProbeBackend(ctx context.Context, nameOrID string) (answer registrar.ProbeReport, err error) {
	if nameOrID == "" {
		return answer, registry.ErrNotFound
	}
	err = c.ask(ctx, call{method: http.MethodPost, path: backendPath(nameOrID, "/probe")}, nil, &answer)
	return answer, err
}

// Explain implements registry.Backends.
func (c *Client) Explain(ctx context.Context, req placement.Request) (answer placement.Explanation, err error) {
	err = c.ask(ctx, call{method: http.MethodPost, path: "/v1/routing/explain", repeat: true}, req, &answer)
	return answer, err
}

// Health implements registry.Backends.
func (c *Client) Health(ctx context.Context) (answer registry.Health, err error) {
	err = c.ask(ctx, call{method: http.MethodGet, path: "/v1/health", repeat: true}, nil, &answer)
	return answer, err
}
