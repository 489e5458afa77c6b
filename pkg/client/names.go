package client

import (
	"context"
	"io"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// The words of the contract that a program needs to publish and read packages,
// so that it imports this package and pkg/manifest alone. They are the types
// of pkg/registry, which has the rest.
type (
	PackageRef      = registry.PackageRef
	OpenUpload      = registry.OpenUpload
	Upload          = registry.Upload
	FileDeclaration = registry.FileDeclaration
	Declared        = registry.Declared
	Content         = registry.Content
	NamedContent    = registry.NamedContent
	SentManifest    = registry.SentManifest
	Publication     = registry.Publication
	Package         = registry.Package
	PackageFilter   = registry.PackageFilter
	EventQuery      = registry.EventQuery
	EventFilter     = registry.EventFilter
	FileQuery       = registry.FileQuery
	FilePage        = registry.FilePage
	UseQuery        = registry.UseQuery
	UsePage         = registry.UsePage
	TagRef          = registry.TagRef
	TagSetting      = registry.TagSetting
	TagQuery        = registry.TagQuery
	HistoryQuery    = registry.HistoryQuery
	TagPage         = registry.TagPage
	Tag             = registry.Tag
	FileInfo        = registry.FileInfo
	BlobInfo        = registry.BlobInfo
	Event           = registry.Event
	Digest          = digest.Digest // one digest, by its algorithm
	Digests         = digest.Dual   // both digests of the same bytes
	Range           = storage.Range // a part of a blob
	Secret          = storage.Secret
)

// UnknownSize is the size of a Content whose reader is sent to its end.
const UnknownSize = storage.UnknownSize

// Errors that carry data, for errors.As.
type (
	InvalidError    = registry.InvalidError
	ConflictError   = registry.ConflictError
	IncompleteError = registry.IncompleteError
	MismatchError   = storage.MismatchError
)

// Errors that a program tells apart, for errors.Is. pkg/registry, pkg/storage
// and pkg/registry/placement list all of them.
var (
	ErrInvalid         = registry.ErrInvalid         // an *InvalidError
	ErrNotFound        = registry.ErrNotFound        //
	ErrConflict        = registry.ErrConflict        // a *ConflictError
	ErrIncomplete      = registry.ErrIncomplete      // an *IncompleteError
	ErrPublished       = registry.ErrPublished       // the session
	ErrExpired         = registry.ErrExpired         // the session
	ErrUnauthenticated = registry.ErrUnauthenticated // the token is not valid
	ErrForbidden       = registry.ErrForbidden       // its holder may not do this
	ErrUnknownOutcome  = registry.ErrUnknownOutcome  // ask again whether the call took effect
	ErrMismatch        = storage.ErrMismatch         // a *MismatchError
)

// NewSecret makes a Secret, which is never printed.
func NewSecret(text string) Secret { return storage.NewSecret(text) }

// Copy copies src to dst and returns both digests and the number of bytes.
func Copy(dst io.Writer, src io.Reader) (Digests, int64, error) { return digest.Copy(dst, src) }

// WithProducer says whose package a blob belongs to that is asked for with the
// context. Where access is restricted it finds the right at once; it grants nothing.
func WithProducer(ctx context.Context, producer string) context.Context {
	return registry.WithHolder(ctx, producer)
}
