package registry

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// Limits on input. Exceeding one is a 4xx that names the field.
const (
	// MaxFieldLength of producer, name, version and retention class, in bytes: it
	// fits a path segment of every file system and an OCI tag (128).
	MaxFieldLength = 128
	// MaxPackageName in bytes: with the producer and a slash it fits the name of an OCI
	// repository in most registries and clients (255).
	MaxPackageName = 200
	// MaxAnnotations, and the sizes of their parts in bytes.
	MaxAnnotations      = 64
	MaxAnnotationKey    = 128
	MaxAnnotationValue  = 4096
	MaxMediaTypeLength  = 255 // RFC 6838, section 4.2: 127 "/" 127
	MaxFilesInOneUpload = 100_000
	// MaxFilesAtOnce and MaxBytesAtOnce of the files of a package that is published by one
	// request, and MaxTextsAtOnce of its annotations, keys and values, in bytes.
	MaxFilesAtOnce = 128
	MaxBytesAtOnce = 1 << 20
	MaxTextsAtOnce = 8 << 10
	// MaxManifestAtOnce is how large a manifest may be that is sent with them, in bytes: it
	// has some 14,000 files.
	MaxManifestAtOnce = 2 << 20
	// UploadLifetime is how long a session stays open after its last change.
	UploadLifetime = 24 * time.Hour
	// OrphanAge is how old an orphan must be before a sweep removes it.
	OrphanAge = 24 * time.Hour
	// MaxPutTime is how long storing one file may take, whatever its size, so that
	// its staged object is always younger than OrphanAge.
	MaxPutTime = OrphanAge - time.Hour
	// CheckTimeout is how long the database may take to say that it works.
	CheckTimeout = 2 * time.Second
	// What one holder of a token may have at a time (see package shares): beyond it
	// every request is a *LimitError. Texts are paths, media types and annotations,
	// in bytes. A session counts until it is published, abandoned or expired.
	MaxOpenUploads   = 1000
	MaxDeclaredFiles = 1_000_000
	MaxDeclaredTexts = 128 << 20
	// Pages.
	DefaultEventPage   = 100
	MaxEventPage       = 1000
	DefaultPackagePage = 100
	MaxPackagePage     = 1000
	// MaxPackageScan and MaxEventScan are how many packages and events are looked at for one page.
	MaxPackageScan  = 10_000
	MaxEventScan    = 5000
	MaxFilePage     = 1000
	MaxLocationPage = verify.MaxPage
)
