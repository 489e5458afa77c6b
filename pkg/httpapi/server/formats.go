package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fxamacker/cbor/v2"
)

// formats of the JSON operations, which also support CBOR (Content-Type and
// Accept: application/cbor), with the same field names, and digests and times as text.
var formats = map[string]huma.Format{
	"application/json": jsonFormat,
	"json":             jsonFormat,
	"application/cbor": cborFormat,
	"cbor":             cborFormat,
}

// Names of fields are exact: a proxy that reads the body must see the name that the registry takes.
func init() { huma.ValidateStrictCasing = true }

var jsonFormat = huma.Format{
	Marshal: huma.DefaultJSONFormat.Marshal,
	Unmarshal: func(data []byte, into any) error {
		if err := checkJSON(data); err != nil {
			return err
		}
		return json.Unmarshal(data, into)
	},
}

const (
	// maxJSONValues of one body, names not counted: the findings of 1,000 intact
	// and 100 damaged blobs are about 1,500. It bounds what a body takes when it is decoded.
	maxJSONValues = 4096
	// maxJSONDepth is that of CBOR, too.
	maxJSONDepth = 16
)

// inexactError says why a text that encoding/json takes may mean something else to others.
type inexactError string

func (e inexactError) Error() string { return string(e) }

// checkJSON refuses names that occur twice in an object, and what is not UTF-8:
// encoding/json would take the last, and replace the bytes. A text that is no
// JSON passes, for the decoder to refuse.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return inexactError("must be UTF-8")
	}
	if (&escapeReader{}).halved(data) {
		return errHalved
	}
	c := jsonChecker{json.NewDecoder(bytes.NewReader(data)), maxJSONValues}
	if inexact, is := errors.AsType[inexactError](c.value(0)); is {
		return inexact
	}
	return nil
}

// errHalved: encoding/json would replace the half by U+FFFD, and a path would become another path.
const errHalved = inexactError(`has half of a surrogate pair, such as \ud800 alone`)

// escapeReader fails where a JSON text has half of a surrogate pair (RFC 8259, section 8.2).
type escapeReader struct {
	from   io.Reader
	escape int  // how much of an escape was read: 0 for none, 1 to 5 for a part of \u12
	unit   rune // its digits
	high   bool // the escape before was the first half of a pair
}

func (e *escapeReader) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	if e.halved(p[:n]) {
		return 0, errHalved
	}
	return n, err
}

// halved goes on with the text. What is no JSON it leaves to the decoder.
func (e *escapeReader) halved(text []byte) bool {
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

// jsonChecker reads a text token by token, without keeping it.
type jsonChecker struct {
	decoder *json.Decoder
	left    int // values
}

func (c *jsonChecker) value(depth int) error {
	if c.left--; c.left < 0 || depth > maxJSONDepth {
		return inexactError(fmt.Sprintf("must have at most %d values, at most %d deep", maxJSONValues, maxJSONDepth))
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
				return inexactError(fmt.Sprintf("has the name %.80q twice in one object", text))
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

var cborFormat = huma.Format{
	Marshal:   func(w io.Writer, value any) error { return cborEncoder.NewEncoder(w).Encode(value) },
	Unmarshal: func(data []byte, into any) error { return cborDecoder.Unmarshal(data, into) },
}

// stringMap is what an object without a type decodes to.
var stringMap = reflect.TypeFor[map[string]any]()

var cborEncoder = must(cbor.EncOptions{
	Sort:          cbor.SortCoreDeterministic,
	IndefLength:   cbor.IndefLengthForbidden,
	Time:          cbor.TimeRFC3339NanoUTC,
	TextMarshaler: cbor.TextMarshalerTextString,
}.EncMode())

var cborDecoder = must(cbor.DecOptions{
	DupMapKey:         cbor.DupMapKeyEnforcedAPF,
	MaxNestedLevels:   maxJSONDepth,
	MaxArrayElements:  maxJSONValues,
	MaxMapPairs:       maxJSONValues,
	FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	TextUnmarshaler:   cbor.TextUnmarshalerTextString,
	DefaultMapType:    stringMap, // as encoding/json does; huma validates such maps
}.DecMode())

func must[T any](mode T, err error) T {
	if err != nil {
		panic(err) // the options are constants, and a test runs this
	}
	return mode
}
