package httpapi

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
)

// problemBase and a code make the "type" of a problem.
const problemBase = "https://artifactstore.dev/problems/"

// Problem is every error's body: RFC 9457, application/problem+json. Members
// may be added, and a client ignores those that it does not know; a type, once
// published, keeps its meaning.
type Problem struct {
	// Type is problemBase and a code of the table in errors.go.
	Type   string `json:"type" format:"uri"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Errors names the fields that are wrong.
	Errors []FieldError `json:"errors,omitempty"`
	// RequestID finds the detail of a 500 in the server's log.
	RequestID string `json:"requestId,omitempty"`

	// Existing is the manifest that the version has (type conflict).
	Existing digest.Digest `json:"existing,omitzero"`
	// Incomplete says which files have no bytes yet (type incomplete).
	Incomplete *IncompleteFiles `json:"incomplete,omitempty"`
	// Mismatch says what came and what was declared (type mismatch).
	Mismatch *Mismatch `json:"mismatch,omitempty"`
	// Denied says what right is missing (type forbidden).
	Denied *Denied `json:"denied,omitempty"`
	// Explanation says what became of each backend (types no-ready-backend and no-rule).
	Explanation *placement.Explanation `json:"explanation,omitempty"`
	// ExpectedOffset and ProvidedOffset, in bytes, belong to the resumable
	// upload draft's type, and are spelt as it spells them.
	ExpectedOffset *int64 `json:"expected-offset,omitempty"`
	ProvidedOffset *int64 `json:"provided-offset,omitempty"`
}

// FieldError is one wrong field: of the JSON body ("files[3].path"), a part of
// the address ("path", "digest"), a query parameter ("after") or a header ("Range").
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// IncompleteFiles are declared files without bytes.
type IncompleteFiles struct {
	Count int      `json:"count"`
	Paths []string `json:"paths"` // the first 10
}

// Denied is an access.ForbiddenError. Name is that of a producer or a backend, "" for all of them.
type Denied struct {
	Who      string `json:"who"`
	Verb     string `json:"verb"`
	Resource string `json:"resource"`
	Name     string `json:"name,omitempty"`
}

// Mismatch is a storage.MismatchError. Sizes are in bytes, WantSize -1 where none was declared.
type Mismatch struct {
	Want     digest.Dual `json:"want"`
	Got      digest.Dual `json:"got"`
	WantSize int64       `json:"wantSize"`
	GotSize  int64       `json:"gotSize"`
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

// GetStatus, ContentType and GetHeaders are what huma asks of an error.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType turns a format into the problem format of RFC 9457.
func (p *Problem) ContentType(format string) string {
	switch format {
	case "application/json":
		return "application/problem+json"
	case "application/cbor":
		return "application/problem+cbor"
	}
	return format
}

// GetHeaders returns what goes with the problem. huma adds them to those that
// every answer has, so none of these may be here.
func (p *Problem) GetHeaders() http.Header {
	headers := http.Header{}
	if p.RequestID != "" {
		headers.Set("X-Request-Id", p.RequestID)
	}
	if p.Status == http.StatusServiceUnavailable {
		headers.Set("Retry-After", retryAfter)
	}
	if p.Status == http.StatusUnauthorized {
		headers["Www-Authenticate"] = challenges
	}
	if p.ExpectedOffset != nil {
		headers.Set(uploadOffset, strconv.FormatInt(*p.ExpectedOffset, 10))
	}
	if p.ExpectedOffset != nil || p.Type == problemLength.code {
		headers.Set(uploadComplete, formatBool(false))
	}
	return headers
}

// write sends p. Nothing of the answer may have been sent before.
func (p *Problem) write(w http.ResponseWriter) {
	header := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Repr-Digest", "Accept-Ranges"} {
		header.Del(name) // of the answer that did not come to be
	}
	for name, values := range p.GetHeaders() {
		header[name] = values
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) //nolint:errcheck // the client is gone: nobody is left to tell
}

// newRequestID returns 16 random hex digits.
func newRequestID() string {
	var id [8]byte
	rand.Read(id[:]) //nolint:errcheck // never fails (crypto/rand)
	return hex.EncodeToString(id[:])
}
