package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"unique"
)

// masked replaces every secret that is printed.
const masked = "***"

// Secret is a string that does not print itself: fmt (every verb), JSON, text
// and slog all show ***. Only Reveal returns the value. Secrets compare by value
// with ==, and the zero Secret means "none".
//
// The value is behind a handle rather than in a string field, because fmt cannot
// call methods on unexported fields of an enclosing struct and would print the
// string; of a handle it prints an address.
type Secret struct{ handle unique.Handle[string] }

// NewSecret hides value. An empty value is the zero Secret.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{unique.Make(value)}
}

// Reveal returns the value, "" for the zero Secret.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.handle.Value()
}

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return s == Secret{} }

// String returns *** even if there is no value.
func (s Secret) String() string { return masked }

// Format writes *** for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, masked) } //nolint:errcheck // fmt reports it

// MarshalJSON returns "***".
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(masked) }

// MarshalText returns ***.
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// UnmarshalText always fails: secrets come from references, never from a document.
func (s *Secret) UnmarshalText([]byte) error {
	return errors.New("a secret must be a reference, not a value in the document")
}

// LogValue returns *** for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }
