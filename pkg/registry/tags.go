package registry

import (
	"context"
	"encoding/base64"
	"regexp"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// Tags are names that point to versions, and may be moved; what each pointed to is kept.
// Versions and tags of a package name are one space: a version is a tag that never moves.
type Tags interface {
	// SetTag points a tag to a published version. ErrNotFound if the version is not
	// published; a *ConflictError on "tag" if a version has that name, or the tag is
	// immutable and points elsewhere. Setting it again to the same is no error, and no event.
	SetTag(ctx context.Context, ref TagRef, set TagSetting) (Tag, error)
	// RemoveTag removes a tag. ErrNotFound; a *ConflictError on "tag" if it is immutable.
	RemoveTag(ctx context.Context, ref TagRef) error
	// GetTag returns what a tag points to, or pointed to at a position of the log (0:
	// now). ErrNotFound.
	GetTag(ctx context.Context, ref TagRef, at uint64) (Tag, error)
	// ListTags pages through the tags of a package name, in the order of their bytes.
	ListTags(ctx context.Context, query TagQuery) (TagPage, error)
	// ListTagHistory pages through what a tag pointed to, the last first. It is empty for
	// a tag that was never set.
	ListTagHistory(ctx context.Context, ref TagRef, query HistoryQuery) (TagPage, error)
}

// TagRef names a tag: producer/name:tag.
type TagRef struct {
	Producer string `json:"producer"`
	Name     string `json:"name"`
	Tag      string `json:"tag"`
}

func (r TagRef) String() string { return r.Producer + "/" + r.Name + ":" + r.Tag }

// ParseTagRef reads producer/name:tag. *InvalidError if it is not one.
func ParseTagRef(text string) (TagRef, error) {
	producer, rest, slash := strings.Cut(text, "/")
	name, tag, colon := strings.Cut(rest, ":")
	ref := TagRef{producer, name, tag}
	if !slash || !colon {
		return ref, Invalid("tag", "%.200q is not of the form producer/name:tag", text)
	}
	return ref, ref.Validate()
}

// Validate checks the three parts.
func (r TagRef) Validate() error {
	if err := ValidateName("producer", r.Producer); err != nil {
		return err
	}
	if err := ValidatePackageName("name", r.Name); err != nil {
		return err
	}
	return ValidateTag(r.Tag)
}

// tagPattern is that of the OCI distribution specification, "Pulling manifests".
var tagPattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// ValidateTag checks a tag.
func ValidateTag(value string) error {
	if !tagPattern.MatchString(value) {
		return Invalid("tag", `%.200q must begin with a letter, digit or "_" and continue with letters, digits, ".", "_" and "-", in at most %d bytes`, value, MaxFieldLength)
	}
	return nil
}

// Latest is the tag, or the word for the newest version where there is no such tag. No new
// version has this name.
const Latest = "latest"

// TagSetting is what a tag is set to.
type TagSetting struct {
	Version string `json:"version"`
	// Manifest is the version's manifest, if the caller wants it checked.
	Manifest digest.Digest `json:"manifest,omitzero"`
	// Immutable: it never points to anything else, and cannot be removed.
	Immutable bool `json:"immutable,omitempty"`
}

// Validate returns an *InvalidError that names the field.
func (s *TagSetting) Validate() error {
	if a := s.Manifest.Algorithm(); a != "" && a != digest.SHA256 {
		return Invalid("manifest", "must be a sha256, is %s", s.Manifest)
	}
	return ValidateVersion(s.Version)
}

// Tag is what a tag points to, or pointed to.
type Tag struct {
	TagRef
	Version        string        `json:"version,omitempty"` // "" in a history where it was removed
	ManifestDigest digest.Digest `json:"manifestDigest,omitzero"`
	// Digest is the text by which it was set, if that is not ManifestDigest.
	Digest    string    `json:"digest,omitempty"`
	Immutable bool      `json:"immutable,omitempty"`
	Position  uint64    `json:"position"` // of the event
	Actor     string    `json:"actor"`
	Time      time.Time `json:"time"`
}

// TagQuery narrows a listing of tags.
type TagQuery struct {
	Producer, Name string
	// At is a position of the log: the tags as they were then; 0 is now.
	At uint64
	// After continues after the Next of an earlier page.
	After string
	// Limit is the page's size; 0 is DefaultPackagePage.
	Limit int
}

// HistoryQuery narrows a history.
type HistoryQuery struct {
	// Before is a position of the log: what was set or removed before it; 0 is all.
	Before uint64
	// Limit is the page's size; 0 is DefaultPackagePage.
	Limit int
}

// TagPage is part of a listing of tags, or of the history of one.
type TagPage struct {
	Tags []Tag `json:"tags"`
	// Next is "" at the end. That of a history is the position before which it continues.
	Next string `json:"next,omitempty"`
}

// TagCursor is the Next of a page of tags that ends with this one. It is opaque to clients.
func TagCursor(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

// ParseTagCursor reads a TagCursor; "" for "". *InvalidError on "after".
func ParseTagCursor(text string) (string, error) {
	tag, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || text != "" && ValidateTag(string(tag)) != nil {
		return "", Invalid("after", "%.80q is not the \"next\" of an earlier page", text)
	}
	return string(tag), nil
}
