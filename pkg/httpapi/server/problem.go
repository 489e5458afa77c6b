package server

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/serving"
)

// problem is a wire.Problem that answers a request.
type problem wire.Problem

func (p *problem) Error() string { return (*wire.Problem)(p).Message() }

// GetStatus, ContentType and GetHeaders are what huma asks of an error.
func (p *problem) GetStatus() int { return p.Status }

// ContentType turns a format into the problem format of RFC 9457.
func (p *problem) ContentType(format string) string {
	switch format {
	case "application/json":
		return "application/problem+json"
	case "application/cbor":
		return "application/problem+cbor"
	}
	return format
}

// GetHeaders returns the headers of the problem. huma adds them to those of
// every answer, so it must return none of those.
func (p *problem) GetHeaders() http.Header {
	headers := http.Header{}
	if p.RequestID != "" {
		headers.Set("X-Request-Id", p.RequestID)
	}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		headers.Set("Retry-After", retryAfter)
		if p.Soon {
			headers.Set("Retry-After", wire.Soon)
		}
	}
	if p.Status == http.StatusUnauthorized {
		headers["Www-Authenticate"] = []string{serving.BearerChallenge, serving.BasicChallenge}
	}
	if p.ExpectedOffset != nil {
		headers.Set(wire.UploadOffset, strconv.FormatInt(*p.ExpectedOffset, 10))
	}
	if p.ExpectedOffset != nil || p.Type == wire.LengthKind.Type() {
		headers.Set(wire.UploadComplete, wire.FormatBool(false))
	}
	return headers
}

// write sends p. Nothing of the answer may have been sent before.
func (p *problem) write(w http.ResponseWriter) {
	header := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", wire.ReprDigest, "Accept-Ranges"} {
		header.Del(name) // set for the answer that failed
	}
	for name, values := range p.GetHeaders() {
		header[name] = values
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) //nolint:errcheck // the client is gone
}

// newRequestID returns 16 random hex digits.
func newRequestID() string {
	var id [8]byte
	rand.Read(id[:]) //nolint:errcheck // never fails (crypto/rand)
	return hex.EncodeToString(id[:])
}
