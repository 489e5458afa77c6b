package registry

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// PackageFilter narrows a listing; empty fields match all.
type PackageFilter struct {
	Producer, Name, RetentionClass string
	// NameGlob is a pattern for the name (see package glob).
	NameGlob string
	Tier     Tier
	Actor    string
	// Annotations that a package has, all of them with these values.
	Annotations map[string]string
	// Since and Until are times of publication: not before Since, and before Until.
	Since, Until time.Time
	// At is a position of the log: what was published by then; 0 is now.
	At uint64
	// After continues after the Next of an earlier page.
	After string
	// Limit is the page's size; 0 is DefaultPackagePage.
	Limit int
	// Scan is how many packages are looked at for a page; 0 is MaxPackageScan. Only a guard sets it.
	Scan int
}

// Validate returns an *InvalidError that names the field. It leaves After and Limit to the
// cursors.
func (f *PackageFilter) Validate() error {
	for field, value := range map[string]string{"producer": f.Producer, "retentionClass": f.RetentionClass} {
		if value != "" {
			if err := ValidateName(field, value); err != nil {
				return err
			}
		}
	}
	if f.Name != "" {
		if err := ValidatePackageName("name", f.Name); err != nil {
			return err
		}
	}
	if len(f.NameGlob) > MaxPackageName || !IsText(f.NameGlob) {
		return Invalid("nameGlob", "%.80q must be at most %d bytes of text", f.NameGlob, MaxPackageName)
	}
	switch f.Tier {
	case "", TierHot, TierWarm, TierCold:
	default:
		return Invalid("tier", "%.40q must be hot, warm or cold", string(f.Tier))
	}
	if len(f.Annotations) > MaxAnnotations {
		return Invalid("annotation", "must be at most %d, are %d", MaxAnnotations, len(f.Annotations))
	}
	if err := validateAnnotations("annotation", f.Annotations); err != nil {
		return err
	}
	if err := validateActor(f.Actor); err != nil {
		return err
	}
	return validatePeriod(f.Since, f.Until)
}

// PackagePage is part of a listing. It may have fewer packages than its limit, or none,
// although there are more: few of those that were looked at may match.
type PackagePage struct {
	Packages []Package `json:"packages"`
	Next     string    `json:"next,omitempty"` // "" at the end
	// Scanned is how many packages were looked at, as far as it is known.
	Scanned int `json:"-"`
}

// FileInfo is one file of a published package.
type FileInfo struct {
	Path       string      `json:"path"`
	Size       int64       `json:"size"`
	Digests    digest.Dual `json:"digests"`
	Executable bool        `json:"executable,omitempty"`
	MediaType  string      `json:"mediaType,omitempty"`
}

// FileQuery narrows a listing of files.
type FileQuery struct {
	// Below is a folder, without a slash at its end, or a file: only what is in it, or it
	// itself. "" is the whole package.
	Below string
	// After continues after the Next of an earlier page.
	After string
	// Limit is the page's size; 0 is MaxFilePage.
	Limit int
}

// FilePage is part of a package's files.
type FilePage struct {
	Files []FileInfo `json:"files"`
	Next  string     `json:"next,omitempty"` // "" at the end
}

// UseQuery narrows FindUses.
type UseQuery struct {
	// Producer is the only one whose packages are looked at; "" is all.
	Producer string
	// After continues after the Next of an earlier page.
	After string
	// Limit is the page's size; 0 is DefaultPackagePage.
	Limit int
}

// Use is a package that has a blob, and where.
type Use struct {
	PackageRef
	Position uint64 `json:"position"` // of its publication
	// Path of a file; "" if the blob is the package's manifest.
	Path string `json:"path,omitempty"`
}

// UsePage says where a blob is.
type UsePage struct {
	Digests digest.Dual `json:"digests"`
	Size    int64       `json:"size"`
	// Locations are the backends that have it, or should.
	Locations []BlobLocation `json:"locations"`
	Uses      []Use          `json:"uses"`
	Next      string         `json:"next,omitempty"` // "" at the end
}

// BlobLocation is a blob in a backend.
type BlobLocation struct {
	BackendID string `json:"backendId"`
	Backend   string `json:"backend,omitempty"` // its name today, "" if none has the id
	State     string `json:"state"`             // live or failed
	Reason    string `json:"reason,omitempty"`  // why it failed: corrupt, missing or abandoned
}
