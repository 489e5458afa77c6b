// Package registry keeps packages: it takes upload sessions in, has their
// bytes stored where the routing table says, publishes them into the event
// log, and serves them back.
//
// It is the contract alone: interfaces, types, errors, names, limits and
// cursors. service.Service implements it on a database; client.Client
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
// concurrently. Errors wrap the sentinels of errors.go; what the caller got
// wrong is an *InvalidError that names the field.
type Registry interface {
	Uploads
	Bundles
	Resumes
	Packages
	Blobs
	Events
	Backends
	Verifications
	Sweeps
}

// Uploads takes packages in. A session that is not published has no effect.
type Uploads interface {
	// OpenUpload starts a session and fixes its placement. ErrNoReadyBackend
	// if no backend can take it now, a *ConflictError if the version is taken
	// by another retention class or tier; a version that is taken is otherwise
	// found out at Publish, where the same content is no conflict.
	OpenUpload(ctx context.Context, req OpenUpload) (Upload, error)
	// GetUpload returns a session's state. ErrNotFound, ErrExpired.
	GetUpload(ctx context.Context, id string) (Upload, error)
	// DeclareFiles adds files to the session, all or none, and answers which
	// of them need their bytes sent. Declaring a file again in the same words is no error.
	DeclareFiles(ctx context.Context, id string, files []FileDeclaration) (Declared, error)
	// PutFile stores one file's bytes. A path that was not declared is
	// declared by it. The bytes are durable when it returns. A *storage.MismatchError
	// if they are not what was declared. Sending a stored file again is no error if the bytes are the same.
	PutFile(ctx context.Context, id, path string, content Content) (UploadedFile, error)
	// Publish seals the session. Again, it gives the same answer. manifest may
	// be nil; else it is what the client computed, and anything but the bytes that the server computes is an *InvalidError.
	Publish(ctx context.Context, id string, manifest []byte) (Publication, error)
	// AbandonUpload ends a session that is not published. Missing is success; ErrPublished.
	AbandonUpload(ctx context.Context, id string) error
}

// Bundles takes many files in one request: for thousands of small ones, a
// request each costs more than their bytes.
type Bundles interface {
	// PutFiles stores each file that next gives, until io.EOF, as PutFile
	// would. A reader is read to its end before next is called again. When it returns an error, files before
	// the one that the error names may be stored; sending them again is no error.
	PutFiles(ctx context.Context, id string, next func() (NamedContent, error)) (Bundled, error)
}

// Resumes takes a file in several requests, so that one that broke off goes on
// where it was. What arrived is kept in pieces and joined at the end, which
// costs a second write: PutFile is the faster way while it lasts.
type Resumes interface {
	// FileProgress returns how much of a file has arrived. ErrNotFound if it
	// was neither declared nor begun.
	FileProgress(ctx context.Context, id, path string) (FileProgress, error)
	// AppendFile adds bytes at piece.Offset, which must be the one that
	// FileProgress gives (*OffsetError). If they complete the file, it is
	// joined, checked against every digest and size that was declared or is in
	// piece, and stored as by PutFile; if it does not match, what arrived is
	// dropped. A length that is not the one known before is a *LengthError. If
	// the reader breaks off, what came before is kept and the error is
	// storage.ErrSource.
	AppendFile(ctx context.Context, id, path string, piece Piece) (FileProgress, error)
}

// Packages tells what was published.
type Packages interface {
	// ListPackages pages through publications in order of producer, name, version.
	ListPackages(ctx context.Context, filter PackageFilter) (PackagePage, error)
	// GetPackage returns one. ErrNotFound.
	GetPackage(ctx context.Context, ref PackageRef) (Package, error)
	// GetManifest returns a manifest's canonical CBOR by its SHA-256. ErrNotFound.
	GetManifest(ctx context.Context, name digest.Digest) ([]byte, error)
}

// Blobs serves bytes.
type Blobs interface {
	// HeadBlob describes a blob by its SHA-256 or BLAKE3. ErrNotFound.
	HeadBlob(ctx context.Context, name digest.Digest) (BlobInfo, error)
	// OpenBlob opens a blob or a part of it (rng nil: all) by its SHA-256 or BLAKE3. Bytes are not
	// hashed on the way out: the reader checks them. storage.ErrRange, ErrNotFound.
	OpenBlob(ctx context.Context, name digest.Digest, rng *storage.Range) (io.ReadCloser, BlobInfo, error)
	// FindFile returns one file of a package. ErrNotFound.
	FindFile(ctx context.Context, ref PackageRef, path string) (FileInfo, error)
}

// Events reads the log.
type Events interface {
	// ReadEvents returns at most limit events (0: DefaultEventPage) after the
	// position. A position past the head is an *InvalidError on "after".
	ReadEvents(ctx context.Context, after uint64, limit int) (EventPage, error)
	// FollowEvents calls yield for each event after the position, and for
	// each new one as it is appended, until ctx ends or yield fails; it returns that error.
	FollowEvents(ctx context.Context, after uint64, yield func(Event) error) error
	// LogHead returns the log's identity and last position.
	LogHead(ctx context.Context) (LogHead, error)
}

// Backends tells where bytes are, would go, and whether they are intact.
type Backends interface {
	// ListBackends lists every declared backend by name.
	ListBackends(ctx context.Context) ([]BackendStatus, error)
	// GetBackend finds one by name or id. ErrNotFound.
	GetBackend(ctx context.Context, nameOrID string) (BackendStatus, error)
	// Explain says where a new package would go, and why.
	Explain(ctx context.Context, req placement.Request) (placement.Explanation, error)
	// ProbeBackend tries every verb and feature of the backend apart. A
	// *ConflictError if a probe of it is under way.
	ProbeBackend(ctx context.Context, nameOrID string) (registrar.ProbeReport, error)
	// Health summarizes the whole.
	Health(ctx context.Context) (Health, error)
}

// Verifications proves that what the log says is there, byte for byte. The
// registry reads a backend itself (VerifyBackend), or someone who reaches the
// bytes does, and reports what he found.
type Verifications interface {
	// VerifyBackend re-reads objects that the log says are in the backend, all
	// of them or as the options say, and logs what it finds. progress may be
	// nil; it is called from one goroutine. An aborted run returns its error
	// and the report so far; what it had found by then stands. One run of a
	// backend at a time in a process (a *ConflictError).
	VerifyBackend(ctx context.Context, nameOrID string, o VerifyOptions, progress func(VerifyReport)) (VerifyReport, error)
	// ListLocations pages through what should be in the backend, that which was
	// verified longest ago first. It needs nothing of the place itself.
	ListLocations(ctx context.Context, nameOrID string, query LocationQuery) (LocationPage, error)
	// RecordFindings logs what was found of locations of the backend, all or
	// none of it. A digest that has no location there is an *InvalidError. What
	// changed or was verified after found.Position is passed over, so it may
	// be called again with the same findings.
	RecordFindings(ctx context.Context, nameOrID string, found VerifyFindings) (RecordedFindings, error)
}

// Sweeps removes what was left behind.
type Sweeps interface {
	// SweepBackend removes, or with dryRun only lists, what is in the backend
	// and no one has a claim to: blobs that the log does not name and no
	// session has, staged objects, what probes left, and unfinished multipart
	// uploads; all of them only when older than OrphanAge by the place's own
	// clock. It ends before it has touched anything if the place's identity is
	// not this backend's (a *registrar.MarkerError). progress may be nil; it
	// is called from one goroutine. An aborted run returns its error and the
	// report so far; what it removed is removed. One run of a backend at a time
	// in a process (a *ConflictError); other processes may run one beside it. A
	// read-only backend is not looked at, also with dryRun (a *ConflictError).
	SweepBackend(ctx context.Context, nameOrID string, dryRun bool, progress func(SweepReport)) (SweepReport, error)
}
