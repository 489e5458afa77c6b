package manifest

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// InvalidError names the field (dotted, as in JSON) and the requirement it violates.
type InvalidError struct{ Field, Message string }

func (e *InvalidError) Error() string { return e.Field + ": " + e.Message }

func invalid(field, format string, args ...any) error {
	return &InvalidError{field, fmt.Sprintf(format, args...)}
}

// ValidatePath returns nil if path can name a file of a package on every system that
// pulls it: relative, "/" between segments, UTF-8 without control characters, no "."
// or "..", within the limits. Otherwise it returns an *InvalidError on "path". Paths
// are case-sensitive.
func ValidatePath(path string) error {
	switch {
	case path == "":
		return invalid("path", "must not be empty")
	case len(path) > MaxPathLength:
		return invalid("path", "must be at most %d bytes, is %d", MaxPathLength, len(path))
	case !utf8.ValidString(path):
		return invalid("path", "%q must be UTF-8", path)
	case strings.HasPrefix(path, "/"):
		return invalid("path", "%q must be relative", path)
	case strings.Contains(path, `\`):
		return invalid("path", "%q must not contain a backslash", path)
	case strings.ContainsFunc(path, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return invalid("path", "%q must not contain control characters", path)
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch {
		case segment == "":
			return invalid("path", "%q must not have an empty segment", path)
		case segment == "." || segment == "..":
			return invalid("path", "%q must not have a segment %q", path, segment)
		case len(segment) > MaxSegmentLength:
			return invalid("path", "the segment %.40q… must be at most %d bytes, is %d", segment, MaxSegmentLength, len(segment))
		}
	}
	return nil
}

// isPathText reports whether a text has only what paths may have.
func isPathText(text string) bool {
	return utf8.ValidString(text) && !strings.Contains(text, `\`) && !strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// FoldPath returns the form in which equal paths are the same file on systems that
// normalize names: Unicode NFC. It keeps the case.
func FoldPath(path string) string { return norm.NFC.String(path) }
