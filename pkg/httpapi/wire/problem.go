package wire

import (
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
)

// Soon is the Retry-After of a request that only came too soon, in seconds.
const Soon = "1"

// Problem is the body of every error: RFC 9457, application/problem+json.
// Members may be added, and a client ignores those that it does not know. A
// published type keeps its meaning.
type Problem struct {
	// Type is problemBase and a code of the table in kinds.go.
	Type   string `json:"type" format:"uri"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Errors lists the invalid fields.
	Errors []FieldError `json:"errors,omitempty"`
	// RequestID finds the detail of a 500 in the server's log.
	RequestID string `json:"requestId,omitempty"`

	// Soon: the request may be sent again after Soon seconds (type limit).
	Soon bool `json:"-"`
	// Existing is the manifest that the version has (type conflict).
	Existing digest.Digest `json:"existing,omitzero"`
	// Incomplete says of which files bytes are missing (type incomplete).
	Incomplete *IncompleteFiles `json:"incomplete,omitempty"`
	// Mismatch says what was declared and what arrived (type mismatch).
	Mismatch *Mismatch `json:"mismatch,omitempty"`
	// Denied says which permission is missing (type forbidden).
	Denied *Denied `json:"denied,omitempty"`
	// Abandoned says which backend was abandoned (type abandoned).
	Abandoned *Abandoned `json:"abandoned,omitempty"`
	// Until says until when nothing is removed (type removals-held).
	Until *time.Time `json:"until,omitempty"`
	// Explanation says why each backend was not chosen (types no-ready-backend and no-rule).
	Explanation *placement.Explanation `json:"explanation,omitempty"`
	// ExpectedOffset and ProvidedOffset, in bytes, belong to the type of the
	// resumable upload draft, which spells them so.
	ExpectedOffset *int64 `json:"expected-offset,omitempty"`
	ProvidedOffset *int64 `json:"provided-offset,omitempty"`
	// ExpectedLength and ProvidedLength, in bytes, say how the lengths of a
	// file differ (the draft's type, which has no members of its own).
	ExpectedLength *int64 `json:"expectedLength,omitempty"`
	ProvidedLength *int64 `json:"providedLength,omitempty"`
}

// FieldError is one invalid field: of the JSON body ("files[3].path"), a part of
// the address ("path", "digest"), a query parameter ("after") or a header ("Range").
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// At makes a FieldError.
func At(location, message string) FieldError {
	return FieldError{Location: location, Message: message}
}

// IncompleteFiles is a registry.IncompleteError.
type IncompleteFiles struct {
	Count   int                    `json:"count"`
	Files   int                    `json:"files"` // declared
	Paths   []string               `json:"paths"` // the first
	Partial []registry.PartialFile `json:"partial,omitempty"`
}

// Denied is an access.ForbiddenError. Name is that of a producer or a backend, "" for all of them.
type Denied struct {
	Who      string `json:"who"`
	Verb     string `json:"verb"`
	Resource string `json:"resource"`
	Name     string `json:"name,omitempty"`
}

// Abandoned is a registry.AbandonedError.
type Abandoned struct {
	Backend   string `json:"backend"`
	BackendID string `json:"backendId"`
	Position  uint64 `json:"position,omitempty"`
}

// Mismatch is a storage.MismatchError. Sizes are in bytes, WantSize -1 where none was declared.
type Mismatch struct {
	Want     digest.Dual `json:"want"`
	Got      digest.Dual `json:"got"`
	WantSize int64       `json:"wantSize"`
	GotSize  int64       `json:"gotSize"`
}

// Message is the detail, or the title where there is none.
func (p *Problem) Message() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}
