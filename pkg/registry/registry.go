// Package registry is the contract of a registry of packages: it takes uploads,
// has their bytes stored where the routing table says, publishes them in the
// event log, and serves them.
//
// It holds interfaces, types, errors, names, limits and cursors, and no code that
// stores anything. service.Service implements it on a database; client.Client
// implements the same interfaces over HTTP.
package registry

import (
	"context"
	"io"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Registry is everything a client can ask for. All methods may be called
// concurrently. Errors wrap the sentinels of errors.go; wrong input is an
// *InvalidError that names the field.
type Registry interface {
	Uploads
	Bundles
	Resumes
	Packages
	Tags
	Blobs
	Events
	Backends
	Verifications
	Sweeps
	Callers
}

// Uploads receives packages. A session that is not published has no effect.
type Uploads interface {
	// OpenUpload starts a session and fixes its placement. ErrNoReadyBackend if
	// no backend can take it now; a *ConflictError if the version is published
	// under another retention class or tier. Whether the version is published with
	// other content is checked by Publish: the same content is no conflict.
	OpenUpload(ctx context.Context, req OpenUpload) (Upload, error)
	// GetUpload returns a session's state. ErrNotFound, ErrExpired.
	GetUpload(ctx context.Context, id string) (Upload, error)
	// DeclareFiles adds files to the session, all or none, and says which of them
	// need their bytes sent. Declaring a file again with identical fields is no error.
	DeclareFiles(ctx context.Context, id string, files []FileDeclaration) (Declared, error)
	// PutFile stores one file's bytes, and declares the path if it is not declared.
	// The bytes are durable when it returns. A *storage.MismatchError if they are
	// not what was declared. Sending a stored file again is no error if the bytes are the same.
	PutFile(ctx context.Context, id, path string, content Content) (UploadedFile, error)
	// Publish seals the session. Calling it again gives the same answer. manifest
	// may be nil; otherwise it must be the very bytes that the server computes (*InvalidError).
	// Links, folders and modes come by it alone: the server takes them from it, checks them
	// as it does paths, and computes the rest.
	Publish(ctx context.Context, id string, manifest []byte) (Publication, error)
	// AbandonUpload ends a session that is not published. A missing session is no error. ErrPublished.
	AbandonUpload(ctx context.Context, id string) error
}

// Bundles receives many files in one request: for thousands of small files, one
// request each costs more than their bytes.
type Bundles interface {
	// PutFiles stores each file that next returns, until io.EOF, as PutFile would.
	// It reads a reader to its end before it calls next again. When it returns an
	// error, files before the one that the error names may be stored; sending them
	// again is no error.
	PutFiles(ctx context.Context, id string, next func() (NamedContent, error)) (Bundled, error)
	// PublishFiles publishes a small package without a session: every file that next
	// returns, or none. It is bounded by MaxFilesAtOnce, MaxBytesAtOnce and MaxTextsAtOnce,
	// and each size must be known; more is an *InvalidError on "files" or "annotations". Answers and errors are
	// those of OpenUpload, PutFile and Publish; sending the same again is no error.
	// With the manifest, which may have links, folders and modes, next gives only what the producer has not published before, one
	// file for each content; an *IncompleteError says which paths are missing.
	// Otherwise sent may be zero.
	PublishFiles(ctx context.Context, req OpenUpload, sent SentManifest, next func() (NamedContent, error)) (Publication, error)
}

// Resumes receives a file in several requests, so that an interrupted upload
// continues where it stopped. The pieces are kept apart and joined at the end,
// which costs a second write: PutFile is faster if it is not interrupted.
type Resumes interface {
	// FileProgress returns how much of a file has arrived. ErrNotFound if it is
	// neither declared nor begun.
	FileProgress(ctx context.Context, id, path string) (FileProgress, error)
	// AppendFile adds bytes at piece.Offset, which must be the offset that
	// FileProgress gives (*OffsetError). If they complete the file, it is joined,
	// checked against every digest and size that was declared or is in piece, and
	// stored as by PutFile; if it does not match, its pieces are dropped. A length
	// other than the known one is a *LengthError. If the reader fails, the bytes
	// before that are kept and the error is storage.ErrSource.
	AppendFile(ctx context.Context, id, path string, piece Piece) (FileProgress, error)
}

// Packages lists and describes what is published.
type Packages interface {
	// ListPackages pages through publications in order of producer, name, version.
	ListPackages(ctx context.Context, filter PackageFilter) (PackagePage, error)
	// GetPackage returns one. ErrNotFound.
	GetPackage(ctx context.Context, ref PackageRef) (Package, error)
	// GetManifest returns a manifest's canonical CBOR by its SHA-256. ErrNotFound.
	GetManifest(ctx context.Context, name digest.Digest) ([]byte, error)
	// HeadManifest describes a manifest's canonical CBOR. ErrNotFound, also for another blob.
	HeadManifest(ctx context.Context, name digest.Digest) (BlobInfo, error)
	// OpenManifest opens it, or a part of it (a nil rng is all): it may have 32 MiB.
	// The reader checks the bytes. storage.ErrRange, ErrNotFound.
	OpenManifest(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, BlobInfo, error)
	// ListDamaged pages through files whose blob has a location that failed or is in doubt.
	ListDamaged(ctx context.Context, filter DamageFilter) (DamagePage, error)
}

// Blobs serves bytes, and says where they are.
type Blobs interface {
	// HeadBlob describes a blob, named by its SHA-256 or BLAKE3. ErrNotFound.
	HeadBlob(ctx context.Context, name digest.Digest) (BlobInfo, error)
	// OpenBlob opens a blob or a part of it (a nil rng is all), named by its SHA-256
	// or BLAKE3. Bytes are not hashed on the way out: the reader checks them.
	// storage.ErrRange, ErrNotFound.
	OpenBlob(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, BlobInfo, error)
	// FindFile returns one file of a package. ErrNotFound.
	FindFile(ctx context.Context, ref PackageRef, path string) (FileInfo, error)
	// OpenFile is OpenBlob of a file of a package.
	OpenFile(ctx context.Context, ref PackageRef, path string, rng *storage.Range) (io.ReadCloser, BlobInfo, error)
	// ListFiles pages through the files of a package, in the order of their paths. ErrNotFound.
	ListFiles(ctx context.Context, ref PackageRef, query FileQuery) (FilePage, error)
	// FindUses says where a blob is: in which packages, under which paths, and in which
	// backends. ErrNotFound if no package has it, or none of query.Producer.
	FindUses(ctx context.Context, name digest.Digest, query UseQuery) (UsePage, error)
}

// Events reads the log.
type Events interface {
	// ReadEvents returns a page of the events that match. A position past the head is an
	// *InvalidError on "after".
	ReadEvents(ctx context.Context, query EventQuery) (EventPage, error)
	// FollowEvents calls yield for each event that matches after the position and for each
	// new one, until ctx ends or yield fails. It returns that error. query has no limit.
	FollowEvents(ctx context.Context, query EventQuery, yield func(Event) error) error
	// LogHead returns the log's identity and last position.
	LogHead(ctx context.Context) (LogHead, error)
}

// Backends says where bytes are, where new ones would go, and whether they are intact.
type Backends interface {
	// ListBackends lists every declared backend, sorted by name.
	ListBackends(ctx context.Context) ([]BackendStatus, error)
	// GetBackend finds one by name or id. ErrNotFound.
	GetBackend(ctx context.Context, nameOrID string) (BackendStatus, error)
	// Explain says where a new package would go, and why.
	Explain(ctx context.Context, req placement.Request) (placement.Explanation, error)
	// ProbeBackend tries each verb and feature of the backend by itself. A
	// *ConflictError if a probe of it is running.
	ProbeBackend(ctx context.Context, nameOrID string) (registrar.ProbeReport, error)
	// Health summarizes the whole.
	Health(ctx context.Context) (Health, error)
}

// Verifications proves that a backend holds what the log says, byte for byte.
// Either the registry reads the backend (VerifyBackend), or a program that
// reaches the bytes reads it and reports what it found.
type Verifications interface {
	// VerifyBackend re-reads objects that the log says are in the backend, all of
	// them or as the options say, and logs what it finds. progress may be nil; it
	// is called from one goroutine. An interrupted run returns its error and the
	// report so far; its findings until then are kept. One run of a backend at a
	// time (a *ConflictError).
	VerifyBackend(ctx context.Context, nameOrID string, o VerifyOptions, progress func(VerifyReport)) (VerifyReport, error)
	// ListLocations pages through what should be in the backend; the location
	// that was verified longest ago comes first. It does not access the backend.
	ListLocations(ctx context.Context, nameOrID string, query LocationQuery) (LocationPage, error)
	// RecordFindings logs findings about locations of the backend, all or none. A
	// digest without a location there is an *InvalidError. Locations that changed
	// or were verified after found.Position are skipped, so it may be called again
	// with the same findings.
	RecordFindings(ctx context.Context, nameOrID string, found VerifyFindings) (RecordedFindings, error)
}

// Sweeps removes what interrupted uploads left behind.
type Sweeps interface {
	// SweepBackend removes, or with dryRun only lists, what is in the backend and
	// belongs to nothing: blobs that neither the log nor a session names, staged
	// objects, what probes left, and unfinished multipart uploads; all of them only
	// when older than OrphanAge by the backend's own clock. If the marker there is
	// not this backend's, it touches nothing (a *registrar.MarkerError). progress
	// may be nil; it is called from one goroutine. An interrupted run returns its
	// error and the report so far; what it removed stays removed. One run of a
	// backend at a time in a process (a *ConflictError); other processes may run
	// one beside it. A read-only backend is refused, also with dryRun (a *ConflictError).
	SweepBackend(ctx context.Context, nameOrID string, dryRun bool, progress func(SweepReport)) (SweepReport, error)
}
