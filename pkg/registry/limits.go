package registry

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// Limits on what comes in. Every one is a 4xx that names the field.
const (
	// MaxFieldLength bounds producer, name, version and retention class, in bytes: what
	// fits a path segment of every file system and an OCI tag (128).
	MaxFieldLength = 128
	// MaxAnnotations and their sizes in bytes.
	MaxAnnotations      = 64
	MaxAnnotationKey    = 128
	MaxAnnotationValue  = 4096
	MaxMediaTypeLength  = 255 // RFC 6838, section 4.2: 127 "/" 127
	MaxFilesInOneUpload = 100_000
	// UploadLifetime is how long a session stays open after its last change.
	UploadLifetime = 24 * time.Hour
	// OrphanAge is how old something must be before a sweep takes it for left
	// behind.
	OrphanAge = 24 * time.Hour
	// MaxPutTime is how long storing one file may take, however large: what is
	// staged for it is then younger than OrphanAge.
	MaxPutTime = OrphanAge - time.Hour
	// Pages.
	DefaultEventPage   = 100
	MaxEventPage       = 1000
	DefaultPackagePage = 100
	MaxPackagePage     = 1000
	MaxLocationPage    = verify.MaxPage
)
