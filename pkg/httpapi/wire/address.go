package wire

import (
	"net/url"
	"strings"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// PackageAddress is the address of a package, escaped.
func PackageAddress(ref registry.PackageRef) string {
	return "/v1/packages/" + Segment(ref.Producer) + "/" + Segment(ref.Name) + "/" + Segment(ref.Version)
}

// TagsAddress is the address of the tags of a package name, escaped.
func TagsAddress(producer, name string) string {
	return "/v1/tags/" + Segment(producer) + "/" + Segment(name)
}

// TagAddress is the address of a tag, escaped.
func TagAddress(ref registry.TagRef) string {
	return TagsAddress(ref.Producer, ref.Name) + "/" + Segment(ref.Tag)
}

// Segment escapes one segment of an address. A segment of dots is escaped
// too: a proxy would take it for a step up.
func Segment(value string) string {
	if value == "." || value == ".." {
		return strings.ReplaceAll(value, ".", "%2E")
	}
	return url.PathEscape(value)
}

// EscapePath escapes the segments of a file's path and keeps its slashes.
func EscapePath(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i] = Segment(segment)
	}
	return strings.Join(segments, "/")
}
