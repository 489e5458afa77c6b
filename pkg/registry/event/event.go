// Package event is what can happen to packages, backends and locations, and
// how that is written into the log.
//
// Evolution: the log is permanent, so a payload that was ever written must
// stay readable. A kind's fields never change their meaning and are never
// removed. A new optional field may be added if its absence means what was
// meant before; anything else is a new kind ("v2.…"). A binary that meets a
// kind or a field that it does not know stops with ErrUnknown rather than fold
// what it does not understand, and the first such record ends the appends of
// those that do not know it: see levels, where each kind and version has its row.
//
// Payloads are CBOR maps in the encoding of package canonical. Digests are
// byte strings of 32 bytes, ids are UUIDs in text.
package event

import (
	"errors"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/canonical"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

// The kinds.
const (
	KindBackendRegistered = "v1.backend.registered"
	KindBackendAbandoned  = "v1.backend.abandoned"
	KindPackagePublished  = "v1.package.published"
	KindLocationAdded     = "v1.storage.location_added"
	KindLocationVerified  = "v1.storage.location_verified"
	KindLocationFailed    = "v1.storage.location_failed"
	KindLogRecovered      = "v1.log.recovered"
	KindTagSet            = "v1.tag.set"
	KindTagRemoved        = "v1.tag.removed"
)

// MaxDigests is how many digests one LocationVerified or LocationAdded carries at most.
const MaxDigests = 1000

// Why a location failed.
const (
	ReasonCorrupt = "corrupt" // the bytes are there and are not what they should be
	ReasonMissing = "missing" // the place answered that there is no such object
)

// ErrUnknown: the record is of a kind, or has a field, that this version does not know.
var ErrUnknown = errors.New("event of an unknown kind or shape")

// Payload is one of the types below.
type Payload interface {
	// Kind is the name under which it is logged.
	Kind() string
	// Subject names what it happened to: a package, a backend's id or a digest.
	Subject() string
}

// BackendRegistered: a place was marked as a backend of this log, or a backend
// that was abandoned is one again. What it held then stays abandoned until it is
// verified or stored again.
type BackendRegistered struct {
	BackendID string `cbor:"backendId" json:"backendId"`
	Name      string `cbor:"name" json:"name"`     // of the StorageBackend then
	Driver    string `cbor:"driver" json:"driver"` // s3 or local
	Place     string `cbor:"place" json:"place"`   // bucket and prefix, or folder, as text
}

// BackendAbandoned: a backend's declaration was deleted, and an administrator has
// given up what the log named in it, if anything. No bytes are touched: nothing
// relies on them any more.
type BackendAbandoned struct {
	BackendID string `cbor:"backendId" json:"backendId"`
	Name      string `cbor:"name" json:"name"` // of the StorageBackend then
	// Live is how many of its locations were live until now, Failed how many had failed.
	Live   int64 `cbor:"live" json:"live"`
	Failed int64 `cbor:"failed" json:"failed"`
}

// PackagePublished: a package version was sealed; every blob of it, its
// manifest among them, has a live location in each of Backends.
type PackagePublished struct {
	Producer       string   `cbor:"producer"`
	Name           string   `cbor:"name"`
	Version        string   `cbor:"version"`
	RetentionClass string   `cbor:"retentionClass"`
	Tier           string   `cbor:"tier"`
	Backends       []string `cbor:"backends"` // ids
	// Manifest is the encoded manifest itself, so that the log alone says what was published.
	Manifest Bytes `cbor:"manifest"`
}

// Bytes are a byte string that is not copied out of the payload that it is decoded
// from: a manifest may have tens of megabytes. Nobody changes either.
type Bytes []byte

// UnmarshalCBOR implements cbor.Unmarshaler.
func (b *Bytes) UnmarshalCBOR(data []byte) (err error) {
	*b, err = canonical.Bytes(data)
	return err
}

// LocationAdded: these blobs, which the log knew already, were stored in the
// backend (again).
type LocationAdded struct {
	BackendID string   `cbor:"backendId"`
	SHA256    [][]byte `cbor:"sha256"` // 1 to MaxDigests
}

// LocationVerified: blobs were re-read from the backend and both digests were right.
//
// Version 1 names them. It is written where a state changes: they had failed, and
// are live again. (Until there was version 2 it named every blob that was right.)
// Version 2 has a Run: one such event is the record of a whole run, which names
// only those of its last report that are live again.
type LocationVerified struct {
	BackendID string       `cbor:"backendId"`
	SHA256    [][]byte     `cbor:"sha256,omitempty"` // at most MaxDigests, in the order of reading; in version 1 at least one
	Run       *VerifiedRun `cbor:"run,omitempty"`
}

// VerifiedRun is what one run found in one backend. A run that was interrupted has one, too.
type VerifiedRun struct {
	ID    string `cbor:"id"`    // chosen by who ran it; "" where one report was the whole run
	Began int64  `cbor:"began"` // microseconds since 1970: its first report. It ended at the time of the event
	// From and To are the log's positions at which its locations were listed, the
	// first and the last: what was stored after To it has not seen.
	From uint64 `cbor:"from"`
	To   uint64 `cbor:"to"`
	// Verified, Corrupt and Missing are how many it found so, whether or not that was new.
	Verified int64 `cbor:"verified"`
	Corrupt  int64 `cbor:"corrupt"`
	Missing  int64 `cbor:"missing"`
	// List is the SHA-256 over the 32-byte SHA-256 of all that were right, in the order of reporting.
	List []byte `cbor:"list"`
}

// Version implements versioned.
func (e LocationVerified) Version() int {
	if e.Run != nil {
		return 2
	}
	return 1
}

// LocationFailed: the blob was re-read from the backend, and is corrupt or missing.
type LocationFailed struct {
	BackendID string `cbor:"backendId"`
	SHA256    []byte `cbor:"sha256"`
	Reason    string `cbor:"reason"` // ReasonCorrupt or ReasonMissing
	Detail    string `cbor:"detail,omitempty"`
}

// Kind implements Payload.
func (BackendRegistered) Kind() string { return KindBackendRegistered }

// Kind implements Payload.
func (BackendAbandoned) Kind() string { return KindBackendAbandoned }

// Kind implements Payload.
func (PackagePublished) Kind() string { return KindPackagePublished }

// Kind implements Payload.
func (LocationAdded) Kind() string { return KindLocationAdded }

// Kind implements Payload.
func (LocationVerified) Kind() string { return KindLocationVerified }

// Kind implements Payload.
func (LocationFailed) Kind() string { return KindLocationFailed }

// Subject is the backend's id.
func (e BackendRegistered) Subject() string { return e.BackendID }

// Subject is the backend's id.
func (e BackendAbandoned) Subject() string { return e.BackendID }

// Subject is producer/name@version.
func (e PackagePublished) Subject() string { return e.Producer + "/" + e.Name + "@" + e.Version }

// Subject is the backend's id.
func (e LocationAdded) Subject() string { return e.BackendID }

// Subject is the backend's id.
func (e LocationVerified) Subject() string { return e.BackendID }

// Subject is the digest.
func (e LocationFailed) Subject() string { return text(e.SHA256) }

// New encodes a payload for the log. ErrUnknown if it has no fence level.
func New(actor string, payload Payload) (eventlog.Event, error) {
	level, err := levelOf(payload)
	if err != nil {
		return eventlog.Event{}, err
	}
	data, err := encode(payload)
	if err != nil {
		return eventlog.Event{}, fmt.Errorf("encoding %s: %w", payload.Kind(), err)
	}
	return eventlog.Event{Kind: payload.Kind(), Actor: actor, Subject: payload.Subject(), Payload: data, Level: level}, nil
}

// NewAll is New for several.
func NewAll(actor string, payloads []Payload) ([]eventlog.Event, error) {
	events := make([]eventlog.Event, len(payloads))
	for i, payload := range payloads {
		var err error
		if events[i], err = New(actor, payload); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// Decode reads a record's payload. ErrUnknown for what this version does not know.
func Decode(e eventlog.Event) (Payload, error) {
	switch e.Kind {
	case KindBackendRegistered:
		return decode[BackendRegistered](e)
	case KindBackendAbandoned:
		return decode[BackendAbandoned](e)
	case KindPackagePublished:
		return decode[PackagePublished](e)
	case KindLocationAdded:
		return decode[LocationAdded](e)
	case KindLocationVerified:
		return decode[LocationVerified](e)
	case KindLocationFailed:
		return decode[LocationFailed](e)
	case KindLogRecovered:
		return decode[LogRecovered](e)
	case KindTagSet:
		return decode[TagSet](e)
	case KindTagRemoved:
		return decode[TagRemoved](e)
	}
	return nil, fmt.Errorf("%q: %w", e.Kind, ErrUnknown)
}

func decode[P Payload](e eventlog.Event) (Payload, error) {
	var payload P
	if err := canonical.Unmarshal(e.Payload, &payload); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", e.Kind, ErrUnknown, err)
	}
	return payload, nil
}

// Describe returns a payload as clients see it in JSON: digests in text, and
// the manifest by its digest, counts and sizes.
func Describe(payload Payload) (any, error) {
	switch p := payload.(type) {
	case BackendRegistered, BackendAbandoned:
		return p, nil
	case PackagePublished:
		files, bytes := 0, int64(0)
		if _, err := manifest.Walk(p.Manifest, func(_ int, f manifest.File) error {
			files, bytes = files+1, bytes+f.Size
			return nil
		}); err != nil {
			return nil, fmt.Errorf("manifest in %s of %s: %w", p.Kind(), p.Subject(), err)
		}
		return p.DescribeAs(manifest.Digest(p.Manifest), files, bytes), nil
	case LocationAdded:
		return map[string]any{"backendId": p.BackendID, "digests": texts(p.SHA256)}, nil
	case LocationVerified:
		described := map[string]any{"backendId": p.BackendID, "digests": texts(p.SHA256)}
		if r := p.Run; r != nil {
			described["run"] = map[string]any{
				"id": r.ID, "began": time.UnixMicro(r.Began).UTC(), "from": r.From, "to": r.To,
				"verified": r.Verified, "corrupt": r.Corrupt, "missing": r.Missing, "list": text(r.List),
			}
		}
		return described, nil
	case LogRecovered:
		return p.describe(), nil
	case TagSet:
		return p.describe(), nil
	case TagRemoved:
		return p.describe(), nil
	case LocationFailed:
		return map[string]any{"backendId": p.BackendID, "digest": text(p.SHA256), "reason": p.Reason, "detail": p.Detail}, nil
	}
	return nil, fmt.Errorf("%T: %w", payload, ErrUnknown)
}

func texts(sums [][]byte) []string {
	all := make([]string, len(sums))
	for i, sum := range sums {
		all[i] = text(sum)
	}
	return all
}

func text(sum []byte) string {
	d, err := digest.FromBytes(digest.SHA256, sum)
	if err != nil {
		return ""
	}
	return d.String()
}
