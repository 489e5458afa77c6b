package jsonbody

import (
	"encoding/json"
	"io"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// maxHeld is how many bytes of a body may be read that belong to one value, a file's
// fields for example. The decoder keeps them all, and more room for the next ones.
const maxHeld = 256 << 10

// NewDecoder returns a decoder for Object and Expect that never holds more of the body
// than one value. White space counts as one character: the decoder would keep all of
// it, and go through it again for each piece that arrives.
func NewDecoder(body io.Reader) *json.Decoder {
	t := &tight{from: body}
	t.decoder = json.NewDecoder(t)
	return t.decoder
}

// tight leaves out white space behind white space.
type tight struct {
	from    io.Reader
	decoder *json.Decoder // which reads it
	read    int64         // bytes that the decoder got

	inString, escaped, spaced bool // where the last character was
}

func (t *tight) Read(p []byte) (int, error) {
	for {
		n, err := t.from.Read(p)
		kept := t.tighten(p[:n])
		t.read += int64(kept)
		if t.read-t.decoder.InputOffset() > maxHeld {
			return 0, registry.Invalid("body", "has a value of more than %d bytes", maxHeld)
		}
		if kept > 0 || n == 0 || err != nil {
			return kept, err
		}
	}
}

// tighten moves what stays to the front, and returns its length.
func (t *tight) tighten(text []byte) int {
	kept := 0
	for _, c := range text {
		switch {
		case t.inString:
			t.inString, t.escaped = c != '"' || t.escaped, c == '\\' && !t.escaped
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if t.spaced {
				continue
			}
			t.spaced = true
		default:
			t.inString, t.spaced = c == '"', false
		}
		text[kept] = c
		kept++
	}
	return kept
}
