package server

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// accepted is what a route takes besides its path and its header fields.
type accepted struct {
	parameters map[string]bool // of the query
	body       bool
	json       bool // the body is read by huma, as a whole
}

// onceFields are header fields of one value. Of two, the registry would read
// the first, and a proxy another.
var onceFields = []string{
	"Content-Type", "Content-Encoding", "Content-Range", "Range", "If-Range", "Last-Event-Id",
	wire.UploadOffset, wire.UploadComplete, wire.UploadLength,
}

// maxNamed is how many refused parameters a problem names.
const maxNamed = 10

// acceptedBy reads it from the documentation of the routes below /v1/, by
// method and pattern: what is documented is also what is checked.
func acceptedBy(document *huma.OpenAPI) map[string]accepted {
	table := map[string]accepted{}
	for path, item := range document.Paths {
		if !strings.HasPrefix(path, "/v1/") {
			continue
		}
		for _, op := range operationsOf(item) {
			takes := accepted{parameters: map[string]bool{}, body: op.RequestBody != nil, json: op.RequestBody != nil && op.MaxBodyBytes > 0}
			for _, parameter := range op.Parameters {
				if parameter.In == "query" {
					takes.parameters[parameter.Name] = true
				}
			}
			table[op.Method+" "+path] = takes
		}
	}
	return table
}

// checkAccepted refuses what the route, by its method and pattern, would
// ignore: whoever sends it means something by it, and a mistyped "dryrun=true"
// must not remove anything.
func (h *handler) checkAccepted(route string, r *http.Request) error {
	takes, known := h.accepted[strings.ReplaceAll(route, "{path...}", "{path}")]
	if !known {
		return nil
	}
	for _, name := range onceFields {
		if len(r.Header[name]) > 1 {
			return registry.Invalid(name, "must be given once")
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // net/url would leave out the pair
		return registry.Invalid("query", "must be name=value pairs, joined by & and percent-encoded")
	}
	var wrong []wire.FieldError
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch values := query[name]; {
		case len(wrong) == maxNamed:
		case !takes.parameters[name]:
			wrong = append(wrong, wire.At(name, "is not a parameter of this request, which takes "+takes.words()))
		case len(values) > 1 && name != "annotation":
			wrong = append(wrong, wire.At(name, "must be given once"))
		case values[0] == "" && name != "after": // the first page may be asked for by an empty cursor
			wrong = append(wrong, wire.At(name, "must not be empty"))
		}
	}
	if len(wrong) > 0 {
		details := make([]string, len(wrong))
		for i, field := range wrong {
			details[i] = field.Location + ": " + field.Message
		}
		return kind(wire.Kinds[0]).problem(strings.Join(details, "; "), wrong...)
	}
	if takes.body || r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength < 0 {
		if _, err := io.ReadFull(r.Body, make([]byte, 1)); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
	return registry.Invalid("body", "must be empty: parameters of this request are part of its address")
}

func (a accepted) words() string {
	if len(a.parameters) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(a.parameters)), ", ")
}
