// Package address parses the addresses of files, whose paths must reach the registry as
// they were sent.
package address

import (
	"net/url"
	"strings"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// Patterns of the addresses that end in a file's path.
const (
	UploadFile  = "/v1/uploads/{id}/files/{path...}"
	PackageFile = "/v1/packages/{producer}/{name}/{version}/files/{path...}"
)

// shapes are the addresses that end in a file's path: their prefix, and
// the fields between it and "/files/".
var shapes = map[string]struct {
	prefix string
	fields []string
}{
	UploadFile:  {"/v1/uploads/", []string{"id"}},
	PackageFile: {"/v1/packages/", []string{"producer", "name", "version"}},
}

// Address is one that ends in a file's path.
type Address struct {
	Pattern string
	Values  map[string]string // decoded; "path" among them
	Err     error             // an *InvalidError on "path"
}

// Split parses an escaped path. The file's path follows "/files/":
// each percent escape is decoded once and nothing is cleaned, so that
// validation sees what was sent.
func Split(escaped string) (Address, bool) {
	for pattern, shape := range shapes {
		rest, ok := strings.CutPrefix(escaped, shape.prefix)
		if !ok {
			continue
		}
		address := Address{Pattern: pattern, Values: make(map[string]string, 4)}
		for _, field := range shape.fields {
			var value string
			if value, rest, ok = strings.Cut(rest, "/"); !ok || value == "" || value == "." || value == ".." {
				return Address{}, false
			}
			address.Values[field], _ = url.PathUnescape(value) // net/url has parsed it once already
		}
		if rest, ok = strings.CutPrefix(rest, "files/"); !ok {
			return Address{}, false
		}
		decoded, err := url.PathUnescape(rest)
		address.Values["path"] = decoded
		if err != nil {
			address.Err = registry.Invalid("path", "has an invalid percent escape")
		} else if strings.Contains(strings.ToUpper(rest), "%2F") {
			// One file has one address: "a%2Fb" would be a second one of "a/b".
			address.Err = registry.Invalid("path", `must contain "/" unescaped, not as %%2F`)
		}
		return address, true
	}
	return Address{}, false
}

// IsClean reports whether ServeMux would not redirect the path.
func IsClean(escaped string) bool {
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

// IsPattern reports whether a route's pattern is one of them.
func IsPattern(pattern string) bool {
	_, is := shapes[pattern]
	return is
}
