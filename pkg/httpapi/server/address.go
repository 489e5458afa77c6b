package server

import (
	"net/url"
	"strings"

	"github.com/coulomb/artifact-store/pkg/registry"
)

const (
	uploadFilePattern  = "/v1/uploads/{id}/files/{path...}"
	packageFilePattern = "/v1/packages/{producer}/{name}/{version}/files/{path...}"
)

// fileAddresses are the addresses that end in a file's path: their prefix, and
// the fields between it and "/files/".
var fileAddresses = map[string]struct {
	prefix string
	fields []string
}{
	uploadFilePattern:  {"/v1/uploads/", []string{"id"}},
	packageFilePattern: {"/v1/packages/", []string{"producer", "name", "version"}},
}

// fileAddress is one of them, parsed.
type fileAddress struct {
	pattern string
	values  map[string]string // decoded; "path" among them
	err     error             // an *InvalidError on "path"
}

// splitFileAddress parses an escaped path. The file's path follows "/files/":
// each percent escape is decoded once and nothing is cleaned, so that
// validation sees what was sent.
func splitFileAddress(escaped string) (fileAddress, bool) {
	for pattern, shape := range fileAddresses {
		rest, ok := strings.CutPrefix(escaped, shape.prefix)
		if !ok {
			continue
		}
		address := fileAddress{pattern: pattern, values: make(map[string]string, 4)}
		for _, field := range shape.fields {
			var value string
			if value, rest, ok = strings.Cut(rest, "/"); !ok || value == "" || value == "." || value == ".." {
				return fileAddress{}, false
			}
			address.values[field], _ = url.PathUnescape(value) // net/url has parsed it once already
		}
		if rest, ok = strings.CutPrefix(rest, "files/"); !ok {
			return fileAddress{}, false
		}
		decoded, err := url.PathUnescape(rest)
		address.values["path"] = decoded
		if err != nil {
			address.err = registry.Invalid("path", "has an invalid percent escape")
		} else if strings.Contains(strings.ToUpper(rest), "%2F") {
			// One file has one address: "a%2Fb" would be a second one of "a/b".
			address.err = registry.Invalid("path", `must contain "/" unescaped, not as %%2F`)
		}
		return address, true
	}
	return fileAddress{}, false
}

// isClean reports whether ServeMux would not redirect the path.
func isClean(escaped string) bool {
	if !strings.HasPrefix(escaped, "/") {
		return false
	}
	segments := strings.Split(escaped[1:], "/")
	for i, segment := range segments {
		if segment == "." || segment == ".." || segment == "" && i < len(segments)-1 {
			return false
		}
	}
	return true
}
