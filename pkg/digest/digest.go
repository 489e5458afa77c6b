// Package digest names bytes by their content: a SHA-256 and a BLAKE3 digest,
// computed together in one pass over the bytes.
//
// The text form is "<algorithm>:<64 lower-case hex digits>", as in the OCI
// image specification (section "Digests").
package digest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Size is the length of either digest in bytes.
const Size = 32

// Algorithm is the name before the colon.
type Algorithm string

// The two algorithms. SHA-256 is primary: it names the stored object.
const (
	SHA256 Algorithm = "sha256" // FIPS 180-4
	BLAKE3 Algorithm = "blake3" // the BLAKE3 paper, 2021, default 256-bit output
)

// ErrInvalid is returned for text that is not a digest.
var ErrInvalid = errors.New("not a digest of the form sha256:<64 hex digits> or blake3:<64 hex digits>")

// Digest is one digest of one algorithm. It is comparable, and its zero value
// means "no digest".
type Digest struct {
	algorithm Algorithm
	sum       [Size]byte
}

// New makes a digest from its raw sum.
func New(algorithm Algorithm, sum [Size]byte) Digest { return Digest{algorithm, sum} }

// FromBytes makes a digest from a raw sum of exactly Size bytes, as stored in
// databases and CBOR.
func FromBytes(algorithm Algorithm, sum []byte) (Digest, error) {
	if len(sum) != Size {
		return Digest{}, fmt.Errorf("%s sum of %d bytes, want %d: %w", algorithm, len(sum), Size, ErrInvalid)
	}
	return Digest{algorithm, [Size]byte(sum)}, nil
}

// Parse reads the text form. It refuses upper-case digits, so that a digest has only
// one spelling.
func Parse(text string) (Digest, error) {
	name, digits, found := strings.Cut(text, ":")
	algorithm := Algorithm(name)
	if !found || (algorithm != SHA256 && algorithm != BLAKE3) || len(digits) != 2*Size || strings.ToLower(digits) != digits {
		return Digest{}, fmt.Errorf("%.80q: %w", text, ErrInvalid)
	}
	d := Digest{algorithm: algorithm}
	if _, err := hex.Decode(d.sum[:], []byte(digits)); err != nil {
		return Digest{}, fmt.Errorf("%.80q: %w", text, ErrInvalid)
	}
	return d, nil
}

// Algorithm returns the algorithm, or "" for the zero digest.
func (d Digest) Algorithm() Algorithm { return d.algorithm }

// Bytes returns a copy of the raw sum, Size bytes long.
func (d Digest) Bytes() []byte { return append([]byte(nil), d.sum[:]...) }

// Sum returns the raw sum.
func (d Digest) Sum() [Size]byte { return d.sum }

// Hex returns the sum as 64 lower-case hex digits.
func (d Digest) Hex() string { return hex.EncodeToString(d.sum[:]) }

// IsZero reports whether d is no digest.
func (d Digest) IsZero() bool { return d.algorithm == "" }

// String returns the text form, or "" for the zero digest.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return string(d.algorithm) + ":" + d.Hex()
}

// MarshalText returns the text form for JSON and YAML.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the text form; empty text is the zero digest.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// Dual holds both digests of the same bytes.
type Dual struct {
	SHA256 Digest `json:"sha256"`
	BLAKE3 Digest `json:"blake3"`
}

// IsZero reports whether both digests are unknown.
func (d Dual) IsZero() bool { return d.SHA256.IsZero() && d.BLAKE3.IsZero() }

// String returns both text forms with two spaces between.
func (d Dual) String() string { return d.SHA256.String() + "  " + d.BLAKE3.String() }

// Matches reports whether got agrees with every known digest of d. A zero Dual
// matches nothing: an unknown digest proves nothing.
func (d Dual) Matches(got Dual) bool {
	if d.IsZero() {
		return false
	}
	return (d.SHA256.IsZero() || d.SHA256 == got.SHA256) && (d.BLAKE3.IsZero() || d.BLAKE3 == got.BLAKE3)
}
