package access

import (
	"context"
	"errors"
	"io"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Index says to whom sessions and blobs belong, which a decision depends on.
// service.Service is one. All methods may be called concurrently.
type Index interface {
	// UploadProducer returns the producer of a session in any state.
	// registry.ErrNotFound.
	UploadProducer(ctx context.Context, id string) (string, error)
	// Holds reports whether a published package of the producer has the blob.
	Holds(ctx context.Context, producer string, name digest.Digest) (bool, error)
	// Holders returns producers whose published packages have the blob, at most limit.
	Holders(ctx context.Context, name digest.Digest, limit int) ([]string, error)
	// Producers returns producers that have published packages, in the order of
	// listings, starting at the given one ("": at the first), at most limit.
	Producers(ctx context.Context, from string, limit int) ([]string, error)
	// BackendName returns the name of a declared backend by its name or id.
	// registry.ErrNotFound.
	BackendName(nameOrID string) (string, error)
}

// Guard returns a registry that asks the authorizer before each call whether
// the identity in the context may make it. Without an identity nothing is allowed.
//
// A caller without permission gets ErrNotFound for an upload session of a
// producer, and for a blob or manifest that is only in packages that the caller
// may not read. For everything that the caller names (a package, a producer, a
// backend) it gets ErrForbidden, whether it exists or not.
func Guard(reg registry.Registry, authorizer Authorizer, index Index) registry.Registry {
	sessions, err := lru.New[string, string](maxSessions)
	if err != nil {
		panic(err) // its size is a constant
	}
	return &guard{inner: reg, authorizer: authorizer, index: index, sessions: sessions}
}

type guard struct {
	inner      registry.Registry
	authorizer Authorizer
	index      Index
	sessions   *lru.Cache[string, string] // id -> producer, which never changes
}

var _ registry.Registry = (*guard)(nil)

// may checks the permission for one action.
func (g *guard) may(ctx context.Context, verb, resource, name string) error {
	who, ok := IdentityOf(ctx)
	if !ok {
		return Unauthenticated("the caller is not authenticated")
	}
	return g.authorizer.Authorize(ctx, who, Action{verb, resource, name})
}

// session checks the permission to create packages of the session's producer.
// Without it, the session is not found.
func (g *guard) session(ctx context.Context, id string) error {
	producer, known := g.sessions.Get(id)
	if !known {
		var err error
		if producer, err = g.index.UploadProducer(ctx, id); err != nil {
			return err
		}
		g.sessions.Add(id, producer)
	}
	err := g.may(ctx, Create, Packages, producer)
	if errors.Is(err, ErrForbidden) {
		return registry.ErrNotFound
	}
	return err
}

// OpenUpload implements registry.Uploads.
func (g *guard) OpenUpload(ctx context.Context, req registry.OpenUpload) (registry.Upload, error) {
	if err := req.Validate(); err != nil {
		return registry.Upload{}, err
	}
	if err := g.may(ctx, Create, Packages, req.Producer); err != nil {
		return registry.Upload{}, err
	}
	upload, err := g.inner.OpenUpload(ctx, req)
	if err == nil {
		g.sessions.Add(upload.ID, upload.Producer)
	}
	return upload, err
}

// GetUpload implements registry.Uploads.
func (g *guard) GetUpload(ctx context.Context, id string) (registry.Upload, error) {
	if err := g.session(ctx, id); err != nil {
		return registry.Upload{}, err
	}
	return g.inner.GetUpload(ctx, id)
}

// DeclareFiles implements registry.Uploads.
func (g *guard) DeclareFiles(ctx context.Context, id string, files []registry.FileDeclaration) (registry.Declared, error) {
	if err := g.session(ctx, id); err != nil {
		return registry.Declared{}, err
	}
	return g.inner.DeclareFiles(ctx, id, files)
}

// PutFile implements registry.Uploads.
func (g *guard) PutFile(ctx context.Context, id, path string, content registry.Content) (registry.UploadedFile, error) {
	if err := g.session(ctx, id); err != nil {
		return registry.UploadedFile{}, err
	}
	return g.inner.PutFile(ctx, id, path, content)
}

// Publish implements registry.Uploads.
func (g *guard) Publish(ctx context.Context, id string, manifest []byte) (registry.Publication, error) {
	if err := g.session(ctx, id); err != nil {
		return registry.Publication{}, err
	}
	return g.inner.Publish(ctx, id, manifest)
}

// AbandonUpload implements registry.Uploads. For a caller without permission
// the session is missing: the result is success, and nothing happens.
func (g *guard) AbandonUpload(ctx context.Context, id string) error {
	err := g.session(ctx, id)
	if errors.Is(err, registry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return g.inner.AbandonUpload(ctx, id)
}

// PublishFiles implements registry.Bundles.
func (g *guard) PublishFiles(ctx context.Context, req registry.OpenUpload, sent registry.SentManifest, next func() (registry.NamedContent, error)) (registry.Publication, error) {
	if err := req.Validate(); err != nil {
		return registry.Publication{}, err
	}
	if err := g.may(ctx, Create, Packages, req.Producer); err != nil {
		return registry.Publication{}, err
	}
	return g.inner.PublishFiles(ctx, req, sent, next)
}

// PutFiles implements registry.Bundles.
func (g *guard) PutFiles(ctx context.Context, id string, next func() (registry.NamedContent, error)) (registry.Bundled, error) {
	if err := g.session(ctx, id); err != nil {
		return registry.Bundled{}, err
	}
	return g.inner.PutFiles(ctx, id, next)
}

// FileProgress implements registry.Resumes.
func (g *guard) FileProgress(ctx context.Context, id, path string) (registry.FileProgress, error) {
	if err := g.session(ctx, id); err != nil {
		return registry.FileProgress{}, err
	}
	return g.inner.FileProgress(ctx, id, path)
}

// AppendFile implements registry.Resumes.
func (g *guard) AppendFile(ctx context.Context, id, path string, piece registry.Piece) (registry.FileProgress, error) {
	if err := g.session(ctx, id); err != nil {
		return registry.FileProgress{}, err
	}
	return g.inner.AppendFile(ctx, id, path, piece)
}

// GetPackage implements registry.Packages.
func (g *guard) GetPackage(ctx context.Context, ref registry.PackageRef) (registry.Package, error) {
	if err := g.mayGet(ctx, ref); err != nil {
		return registry.Package{}, err
	}
	return g.inner.GetPackage(ctx, ref)
}

func (g *guard) mayGet(ctx context.Context, ref registry.PackageRef) error {
	if err := ref.Validate(); err != nil {
		return err
	}
	return g.may(ctx, Get, Packages, ref.Producer)
}

// FindFile implements registry.Blobs.
func (g *guard) FindFile(ctx context.Context, ref registry.PackageRef, path string) (registry.FileInfo, error) {
	if err := g.mayGet(ctx, ref); err != nil {
		return registry.FileInfo{}, err
	}
	return g.inner.FindFile(ctx, ref, path)
}

// OpenFile implements registry.Blobs. The package is one that has the blob.
func (g *guard) OpenFile(ctx context.Context, ref registry.PackageRef, path string, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	if err := g.mayGet(ctx, ref); err != nil {
		return nil, registry.BlobInfo{}, err
	}
	return g.inner.OpenFile(ctx, ref, path, rng)
}

// ListFiles implements registry.Blobs.
func (g *guard) ListFiles(ctx context.Context, ref registry.PackageRef, query registry.FileQuery) (registry.FilePage, error) {
	if err := g.mayGet(ctx, ref); err != nil {
		return registry.FilePage{}, err
	}
	return g.inner.ListFiles(ctx, ref, query)
}

// GetManifest implements registry.Packages.
func (g *guard) GetManifest(ctx context.Context, name digest.Digest) ([]byte, error) {
	if err := g.blob(ctx, name); err != nil {
		return nil, err
	}
	return g.inner.GetManifest(ctx, name)
}

// HeadManifest implements registry.Packages.
func (g *guard) HeadManifest(ctx context.Context, name digest.Digest) (registry.BlobInfo, error) {
	if err := g.blob(ctx, name); err != nil {
		return registry.BlobInfo{}, err
	}
	return g.inner.HeadManifest(ctx, name)
}

// OpenManifest implements registry.Packages.
func (g *guard) OpenManifest(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	if err := g.blob(ctx, name); err != nil {
		return nil, registry.BlobInfo{}, err
	}
	return g.inner.OpenManifest(ctx, name, rng)
}

// HeadBlob implements registry.Blobs.
func (g *guard) HeadBlob(ctx context.Context, name digest.Digest) (registry.BlobInfo, error) {
	if err := g.blob(ctx, name); err != nil {
		return registry.BlobInfo{}, err
	}
	return g.inner.HeadBlob(ctx, name)
}

// OpenBlob implements registry.Blobs.
func (g *guard) OpenBlob(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	if err := g.blob(ctx, name); err != nil {
		return nil, registry.BlobInfo{}, err
	}
	return g.inner.OpenBlob(ctx, name, rng)
}

// ReadEvents implements registry.Events.
func (g *guard) ReadEvents(ctx context.Context, query registry.EventQuery) (registry.EventPage, error) {
	if err := g.may(ctx, Get, Events, ""); err != nil {
		return registry.EventPage{}, err
	}
	return g.inner.ReadEvents(ctx, query)
}

// FollowEvents implements registry.Events. It checks the permission again before
// each event: a stream may last for days.
func (g *guard) FollowEvents(ctx context.Context, query registry.EventQuery, yield func(registry.Event) error) error {
	if err := g.may(ctx, Get, Events, ""); err != nil {
		return err
	}
	return g.inner.FollowEvents(ctx, query, func(event registry.Event) error {
		if err := g.may(ctx, Get, Events, ""); err != nil {
			return err
		}
		return yield(event)
	})
}

// LogHead implements registry.Events.
func (g *guard) LogHead(ctx context.Context) (registry.LogHead, error) {
	if err := g.may(ctx, Get, Events, ""); err != nil {
		return registry.LogHead{}, err
	}
	return g.inner.LogHead(ctx)
}

// ListBackends implements registry.Backends.
func (g *guard) ListBackends(ctx context.Context) ([]registry.BackendStatus, error) {
	if err := g.may(ctx, List, Backends, ""); err != nil {
		return nil, err
	}
	return g.inner.ListBackends(ctx)
}

// GetBackend implements registry.Backends.
func (g *guard) GetBackend(ctx context.Context, nameOrID string) (registry.BackendStatus, error) {
	if err := g.backend(ctx, Get, Backends, nameOrID); err != nil {
		return registry.BackendStatus{}, err
	}
	return g.inner.GetBackend(ctx, nameOrID)
}

// Explain implements registry.Backends. It needs the permission to open an
// upload or to list backends: it tells no more than these do.
func (g *guard) Explain(ctx context.Context, req placement.Request) (placement.Explanation, error) {
	if err := registry.ValidateName("producer", req.Producer); err != nil {
		return placement.Explanation{}, err
	}
	if err := g.may(ctx, Create, Packages, req.Producer); err != nil {
		if g.may(ctx, List, Backends, "") != nil {
			return placement.Explanation{}, err
		}
	}
	return g.inner.Explain(ctx, req)
}

// VerifyBackend implements registry.Verifications.
func (g *guard) VerifyBackend(ctx context.Context, nameOrID string, o registry.VerifyOptions, progress func(registry.VerifyReport)) (registry.VerifyReport, error) {
	if err := g.backend(ctx, Create, Verifications, nameOrID); err != nil {
		return registry.VerifyReport{}, err
	}
	return g.inner.VerifyBackend(ctx, nameOrID, o, progress)
}

// ListLocations implements registry.Verifications. It is the work list of a
// verification, and names every blob of the backend.
func (g *guard) ListLocations(ctx context.Context, nameOrID string, query registry.LocationQuery) (registry.LocationPage, error) {
	if err := g.backend(ctx, Create, Verifications, nameOrID); err != nil {
		return registry.LocationPage{}, err
	}
	return g.inner.ListLocations(ctx, nameOrID, query)
}

// RecordFindings implements registry.Verifications.
func (g *guard) RecordFindings(ctx context.Context, nameOrID string, found registry.VerifyFindings) (registry.RecordedFindings, error) {
	if err := g.backend(ctx, Create, Verifications, nameOrID); err != nil {
		return registry.RecordedFindings{}, err
	}
	return g.inner.RecordFindings(ctx, nameOrID, found)
}

// ProbeBackend implements registry.Backends.
func (g *guard) ProbeBackend(ctx context.Context, nameOrID string) (registrar.ProbeReport, error) {
	if err := g.backend(ctx, Create, Probes, nameOrID); err != nil {
		return registrar.ProbeReport{}, err
	}
	return g.inner.ProbeBackend(ctx, nameOrID)
}

// Health implements registry.Backends. It lists every backend.
func (g *guard) Health(ctx context.Context) (registry.Health, error) {
	if err := g.may(ctx, List, Backends, ""); err != nil {
		return registry.Health{}, err
	}
	return g.inner.Health(ctx)
}

// SweepBackend implements registry.Sweeps.
func (g *guard) SweepBackend(ctx context.Context, nameOrID string, dryRun bool, progress func(registry.SweepReport)) (registry.SweepReport, error) {
	if err := g.backend(ctx, Create, Sweeps, nameOrID); err != nil {
		return registry.SweepReport{}, err
	}
	return g.inner.SweepBackend(ctx, nameOrID, dryRun, progress)
}
