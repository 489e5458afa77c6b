package registry

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// DamageFilter narrows a listing of damage. Name requires Producer, and Version requires Name.
type DamageFilter struct {
	Producer, Name, Version string
	// After continues after the Next of an earlier page.
	After string
	// Limit is the page's size; 0 is DefaultPackagePage, at most MaxPackagePage.
	Limit int
}

// Validate checks the names: an *InvalidError.
func (f DamageFilter) Validate() error {
	switch {
	case f.Version != "":
		return PackageRef{f.Producer, f.Name, f.Version}.Validate()
	case f.Name != "":
		if err := ValidateName("name", f.Name); err != nil {
			return err
		}
		return ValidateName("producer", f.Producer)
	case f.Producer != "":
		return ValidateName("producer", f.Producer)
	}
	return nil
}

// DamagedFile is a file of a package, or its manifest, with a location that failed
// or is in doubt. Other locations may be intact.
type DamagedFile struct {
	PackageRef
	// Path is "" for the manifest.
	Path      string        `json:"path"`
	SHA256    digest.Digest `json:"sha256"`
	Size      int64         `json:"size"`
	Backend   string        `json:"backend"` // "" if it is not declared
	BackendID string        `json:"backendId"`
	// Reason: corrupt or missing; unreadable or suspect if it is in doubt.
	Reason string `json:"reason"`
	// Since is when it was found.
	Since time.Time `json:"since"`
}

// DamagePage is part of a listing of damage, in order of publication and path.
type DamagePage struct {
	Damaged []DamagedFile `json:"damaged"`
	Next    string        `json:"next,omitempty"`
}

// DamageCursor is where a listing of damage continues. It is opaque to clients:
// base64url of JSON.
type DamageCursor struct {
	Position  uint64 `json:"p"` // of the publication
	Path      string `json:"f"`
	BackendID string `json:"b"`
	// Producer is at whose packages it continues, where it is for some producers, one
	// after another; Position is then 0 at the first.
	Producer string `json:"w,omitempty"`
}

func (c DamageCursor) String() string {
	text, _ := json.Marshal(c) // always encodes
	return base64.RawURLEncoding.EncodeToString(text)
}

// ParseDamageCursor reads a DamageCursor; the zero one for "". *InvalidError on "after".
func ParseDamageCursor(cursor string) (c DamageCursor, err error) {
	if cursor == "" {
		return c, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || c.Position == 0 && c.Producer == "" || c.Producer != "" && ValidateName("producer", c.Producer) != nil {
		return DamageCursor{}, Invalid("after", "is not the next of a page of damage")
	}
	return c, nil
}
