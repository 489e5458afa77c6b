package serving

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// InexactError says why a text that encoding/json takes may mean something else to others.
type InexactError string

func (e InexactError) Error() string { return string(e) }

// CheckJSON refuses names that occur twice in an object, and what is not UTF-8:
// encoding/json would take the last, and replace the bytes. A text that is no
// JSON passes, for the decoder to refuse.
func CheckJSON(data []byte, values, depth int) error {
	if !utf8.Valid(data) {
		return InexactError("must be UTF-8")
	}
	if (&EscapeReader{}).halved(data) {
		return ErrHalved
	}
	c := exactChecker{decoder: json.NewDecoder(bytes.NewReader(data)), values: values, depth: depth}
	if inexact, is := errors.AsType[InexactError](c.value(0)); is {
		return inexact
	}
	return nil
}

// ErrHalved: encoding/json would replace the half by U+FFFD, and a path would become another path.
const ErrHalved = InexactError(`has half of a surrogate pair, such as \ud800 alone`)

// EscapeReader fails where a JSON text has half of a surrogate pair (RFC 8259, section 8.2).
type EscapeReader struct {
	From   io.Reader
	escape int  // how much of an escape was read: 0 for none, 1 to 5 for a part of \u12
	unit   rune // its digits
	high   bool // the escape before was the first half of a pair
}

func (e *EscapeReader) Read(p []byte) (int, error) {
	n, err := e.From.Read(p)
	if e.halved(p[:n]) {
		return 0, ErrHalved
	}
	return n, err
}

// halved goes on with the text. What is no JSON it leaves to the decoder.
func (e *EscapeReader) halved(text []byte) bool {
	if e.escape == 0 && !e.high && bytes.IndexByte(text, '\\') < 0 {
		return false
	}
	for _, c := range text {
		switch {
		case e.escape == 0 && c == '\\':
			e.escape, e.unit = 1, 0
		case e.escape == 1 && c == 'u':
			e.escape = 2
		case e.escape < 2: // another character, or another escape
			if e.high {
				return true
			}
			e.escape = 0
		default:
			digit, err := strconv.ParseUint(string(c), 16, 4)
			if e.unit, e.escape = e.unit<<4|rune(digit), e.escape+1; err != nil || e.escape < 6 {
				continue
			}
			if low := e.unit >= 0xdc00 && e.unit <= 0xdfff; low != e.high {
				return true
			}
			e.escape, e.high = 0, e.unit >= 0xd800 && e.unit < 0xdc00
		}
	}
	return false
}

// exactChecker reads a text token by token, without keeping it.
type exactChecker struct {
	decoder       *json.Decoder
	values, depth int // the limits
	seen          int // values
}

func (c *exactChecker) value(depth int) error {
	if c.seen++; c.seen > c.values || depth > c.depth {
		return InexactError(fmt.Sprintf("must have at most %d values, at most %d deep", c.values, c.depth))
	}
	token, err := c.decoder.Token()
	if err != nil || token != json.Delim('{') && token != json.Delim('[') {
		return err
	}
	seen := map[string]bool{}
	for c.decoder.More() {
		if token == json.Delim('{') {
			name, err := c.decoder.Token()
			if err != nil {
				return err
			}
			text, _ := name.(string)
			if seen[text] {
				return InexactError(fmt.Sprintf("has the name %.80q twice in one object", text))
			}
			seen[text] = true
		}
		if err := c.value(depth + 1); err != nil {
			return err
		}
	}
	_, err = c.decoder.Token() // its end
	return err
}

// ErrNotUTF8: a text is not valid UTF-8.
var ErrNotUTF8 = errors.New("the text is not UTF-8")

// UTF8Reader fails if its text is not UTF-8: encoding/json would replace
// invalid bytes by U+FFFD, and a path would become another path.
type UTF8Reader struct {
	From io.Reader
	tail []byte // the start of an incomplete character; at most 3 bytes
}

func (r *UTF8Reader) Read(p []byte) (int, error) {
	n, err := r.From.Read(p)
	text := p[:n]
	if len(r.tail) > 0 {
		text = append(r.tail, text...)
	}
	cut := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if start := len(text) - back; utf8.RuneStart(text[start]) {
			if !utf8.FullRune(text[start:]) {
				cut = start
			}
			break
		}
	}
	if !utf8.Valid(text[:cut]) || err == io.EOF && cut < len(text) {
		return 0, ErrNotUTF8
	}
	r.tail = append(r.tail[:0], text[cut:]...)
	return n, err
}
