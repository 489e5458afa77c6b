package wire

import (
	"mime"
	"slices"
)

// IsMediaType reports whether a Content-Type is one of those wanted, whatever its parameters.
func IsMediaType(header string, wanted ...string) bool {
	got, _, err := mime.ParseMediaType(header)
	return err == nil && slices.Contains(wanted, got)
}
