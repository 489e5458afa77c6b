package registry

import (
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// PackageRef names a package version: producer/name@version. A name may have several
// components, joined by "/".
type PackageRef struct {
	Producer string `json:"producer"`
	Name     string `json:"name"`
	Version  string `json:"version"`
}

func (r PackageRef) String() string { return r.Producer + "/" + r.Name + "@" + r.Version }

// ParsePackageRef reads producer/name@version. *InvalidError if it is not one.
func ParsePackageRef(text string) (PackageRef, error) {
	producer, rest, slash := strings.Cut(text, "/")
	at := strings.LastIndexByte(rest, '@')
	ref := PackageRef{Producer: producer, Name: rest}
	if at >= 0 {
		ref.Name, ref.Version = rest[:at], rest[at+1:]
	}
	if !slash || at < 0 {
		return ref, Invalid("package", "%.200q is not of the form producer/name@version", text)
	}
	return ref, ref.Validate()
}

// Tier is how soon bytes must be readable: a wish that each backend maps to what it has.
type Tier string

// The tiers.
const (
	TierHot  Tier = "hot"
	TierWarm Tier = "warm"
	TierCold Tier = "cold"
)

// OpenUpload is what a session is opened with.
type OpenUpload struct {
	PackageRef
	RetentionClass string            `json:"retentionClass"`
	Tier           Tier              `json:"tier,omitempty"`      // default hot
	MediaType      string            `json:"mediaType,omitempty"` // of the package
	Annotations    map[string]string `json:"annotations,omitempty"`
}

// Upload states.
const (
	UploadOpen      = "open"
	UploadPublished = "published"
)

// Upload is a session.
type Upload struct {
	ID string `json:"id"`
	OpenUpload
	Backend   string    `json:"backend"`   // name of the placement
	BackendID string    `json:"backendId"` // its id
	State     string    `json:"state"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	Files     int       `json:"files"`   // declared so far
	Missing   int       `json:"missing"` // of them, without bytes
}

// FileDeclaration is a file that the package will have.
type FileDeclaration struct {
	// Path is relative, "/"-separated, and UTF-8; see manifest.ValidatePath.
	Path string `json:"path"`
	// Size in bytes; nil if not known yet.
	Size *int64 `json:"size,omitempty"`
	// Digests as far as known. With a SHA-256 and a size, bytes that are stored already need not be sent.
	Digests    digest.Dual `json:"digests,omitzero"`
	Executable bool        `json:"executable,omitempty"`
	MediaType  string      `json:"mediaType,omitempty"`
}

// Declared answers a declaration.
type Declared struct {
	// Send lists the declared paths whose bytes are needed, sorted.
	Send []string `json:"send"`
	// Files declared in the session so far.
	Files int `json:"files"`
}

// Content is the body of one PutFile.
type Content struct {
	Reader  io.Reader
	Size    int64       // storage.UnknownSize if not known
	Digests digest.Dual // as far as known
	// Executable applies if the path was not declared.
	Executable bool
}

// NamedContent is one file of a bundle.
type NamedContent struct {
	Path string
	Content
}

// Bundled says what was stored of a bundle.
type Bundled struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// UploadedFile is a file whose bytes are stored.
type UploadedFile struct {
	Path    string      `json:"path"`
	Size    int64       `json:"size"`
	Digests digest.Dual `json:"digests"`
}

// Piece is some of a file's bytes, in order.
type Piece struct {
	// Content: Reader and Size are of these bytes alone, Digests of the whole file.
	Content
	// Offset in the file.
	Offset int64
	// Complete: they are the last.
	Complete bool
	// Length of the whole file in bytes, or storage.UnknownSize.
	Length int64
	// ContentDigests are of these bytes alone; those that are known are checked.
	ContentDigests digest.Dual
}

// FileProgress is how far a file has come.
type FileProgress struct {
	Path string `json:"path"`
	// Offset is how many bytes have arrived.
	Offset int64 `json:"offset"`
	// Size in bytes, nil until known.
	Size *int64 `json:"size,omitempty"`
	// Complete: all bytes are stored and verified.
	Complete bool `json:"complete"`
	// Digests of the whole file as far as known.
	Digests digest.Dual `json:"digests,omitzero"`
	// Expires is when the session ends, unless it changes before.
	Expires time.Time `json:"expires,omitzero"`
}

// SentManifest is what a client says of the manifest of a package that it publishes by one request.
type SentManifest struct {
	// Digest is what the manifest must be (*InvalidError), unless it is zero.
	Digest digest.Digest
	// Reader has its canonical CBOR, Size bytes, at most MaxManifestAtOnce. It is nil if it
	// is not sent: then the server computes it of the files.
	Reader io.Reader
	Size   int64
}

// Publication is the answer to Publish.
type Publication struct {
	PackageRef
	ManifestDigest digest.Digest `json:"manifestDigest"`
	Position       uint64        `json:"position"` // of v1.package.published
	Backend        string        `json:"backend"`  // name at publish
	BackendID      string        `json:"backendId"`
	Files          int           `json:"files"`
	Bytes          int64         `json:"bytes"`
	// ReusedFiles and ReusedBytes of a package that was published by one request: those
	// whose bytes the backend had already, from another package of the same producer, or
	// another file of this one has.
	ReusedFiles int   `json:"reusedFiles,omitempty"`
	ReusedBytes int64 `json:"reusedBytes,omitempty"`
}

// Package is one published version.
type Package struct {
	PackageRef
	ManifestDigest digest.Digest     `json:"manifestDigest"`
	ManifestSize   int64             `json:"manifestSize"`
	RetentionClass string            `json:"retentionClass"`
	Tier           Tier              `json:"tier"`
	MediaType      string            `json:"mediaType,omitempty"`
	Annotations    map[string]string `json:"annotations,omitempty"`
	Files          int               `json:"files"`
	Bytes          int64             `json:"bytes"` // sum over its files
	Position       uint64            `json:"position"`
	Published      time.Time         `json:"published"`
	Actor          string            `json:"actor"`
	// BackendID is where Publish placed it; Backend is that backend's name today, "" if none has the id.
	BackendID string `json:"backendId"`
	Backend   string `json:"backend,omitempty"`
	// Abandoned is the position of the event by which that backend was abandoned; 0 if it was not.
	Abandoned uint64 `json:"abandoned,omitempty"`
}

// BlobInfo describes a blob.
type BlobInfo struct {
	Digests digest.Dual `json:"digests"`
	Size    int64       `json:"size"`
}

// Event is one record of the log as clients see it.
type Event struct {
	Position uint64    `json:"position"`
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"`
	Actor    string    `json:"actor"`
	Subject  string    `json:"subject"`
	// Payload is the event in JSON. The manifest inside v1.package.published
	// is left out: it has an address of its own.
	Payload json.RawMessage `json:"payload"`
	// Hash of this record and of the one before it; see eventlog.Record.
	Hash     digest.Digest `json:"hash"`
	Previous digest.Digest `json:"previous"`

	encoded []byte // the event in JSON, once EncodeOnce was called
}

// EncodeOnce returns the event with its JSON, for those who tell it to many.
func (e Event) EncodeOnce() (Event, error) {
	data, err := json.Marshal(e) // on one line: JSON escapes line ends in strings, and Marshal adds none
	e.encoded = data
	return e, err
}

// JSON returns the event in JSON, on one line. The caller does not change it.
func (e Event) JSON() ([]byte, error) {
	if e.encoded != nil {
		return e.encoded, nil
	}
	return json.Marshal(e)
}

// LogHead identifies the log and its end.
type LogHead struct {
	LogID    string `json:"logId"`
	Position uint64 `json:"position"`
}

// EventPage is part of the log. It may have fewer events than its limit, or none, before
// the head is reached.
type EventPage struct {
	LogID string `json:"logId"`
	Head  uint64 `json:"head"`
	// Position is how far the log was looked at: the next page is after it.
	Position uint64  `json:"position"`
	Events   []Event `json:"events"`
}

// BackendStatus is a declared backend and what is known of its contents.
type BackendStatus struct {
	placement.Backend
	// Verified is "Unknown" if nothing in it was ever verified, "False" if a location failed, otherwise "True".
	Verified string             `json:"verified"`
	Findings registrar.Findings `json:"findings"`
}

// What BackendStatus.Verified says.
const (
	VerifiedTrue    = "True"
	VerifiedFalse   = "False"
	VerifiedUnknown = "Unknown"
)

// What a verification reads, reports and records; package verify has the words.
type (
	// VerifyOptions say what a run reads, and how fast.
	VerifyOptions = verify.Options
	// VerifyReport is how far a run has come, or what it found.
	VerifyReport = verify.Report
	// VerifyFindings are what was found of some locations.
	VerifyFindings = verify.Found
	// FailedLocation is one finding.
	FailedLocation = verify.FailedLocation
)

// LocationQuery narrows a listing of locations.
type LocationQuery struct {
	// Failed lists only those that failed when they were last read.
	Failed bool
	// After continues after the Next of an earlier page.
	After string
	// Limit is the page's size; 0 is MaxLocationPage.
	Limit int
}

// LocationPage is part of a listing of locations, and the log and backend that
// the marker of their place must name.
type LocationPage struct {
	LogID     string `json:"logId"`
	Backend   string `json:"backend"`
	BackendID string `json:"backendId"`
	verify.Page
}

// RecordedFindings says how many findings were logged.
type RecordedFindings struct {
	Recorded int `json:"recorded"`
	// Superseded findings are of locations that changed or were verified since they were listed.
	Superseded int `json:"superseded"`
}

// Health states.
const (
	HealthOK       = "ok"
	HealthDegraded = "degraded"
)

// Health is the answer of /v1/health.
type Health struct {
	Status string `json:"status"` // ok or degraded
	// Reasons names each problem in a sentence.
	Reasons  []string        `json:"reasons"`
	Log      LogHead         `json:"log"`
	Backends []BackendStatus `json:"backends"`
}

// SweepReport is the progress of a sweep, or its result.
type SweepReport struct {
	Backend   string `json:"backend"`
	BackendID string `json:"backendId"`
	// DryRun means that nothing is removed.
	DryRun bool `json:"dryRun"`
	// MinAgeSeconds is how old an orphan must be.
	MinAgeSeconds int64 `json:"minAgeSeconds"`
	// Known counts blobs that the log names: no sweep touches them.
	Known int64 `json:"known"`
	// Kinds has the counts of each kind, always in the same order.
	Kinds []SweepCounts `json:"kinds"`
	// Orphans lists the first 1,000 that were found; in the last report only.
	Orphans []SweptOrphan `json:"orphans,omitempty"`
	Done    bool          `json:"done"`
	// Error says why a run ended early.
	Error string `json:"error,omitempty"`
}

// SweepCounts counts one kind of orphan. Found is the sum of Due, TooYoung and
// Claimed. Due is the sum of Removed and Failed, and with DryRun what would be removed.
type SweepCounts struct {
	Kind         string `json:"kind"` // blob, staged, probe or upload
	Found        int64  `json:"found"`
	FoundBytes   int64  `json:"foundBytes"`
	Due          int64  `json:"due"`
	DueBytes     int64  `json:"dueBytes"`
	Removed      int64  `json:"removed"`
	RemovedBytes int64  `json:"removedBytes"`
	// TooYoung and Claimed orphans stay: they may belong to an upload that is
	// under way. An orphan whose time the storage does not give is too young.
	TooYoung int64 `json:"tooYoung"`
	Claimed  int64 `json:"claimed"`
	// Failed could not be removed.
	Failed int64 `json:"failed"`
}

// SweptOrphan is one orphan and its outcome.
type SweptOrphan struct {
	Kind string `json:"kind"`
	Key  string `json:"key"` // below the backend's prefix
	Size int64  `json:"size"`
	// Modified is the zero time if the storage does not give one.
	Modified time.Time `json:"modified"`
	Outcome  string    `json:"outcome"` // removed, due (of a dry run), tooYoung, claimed or failed
}
