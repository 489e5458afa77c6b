// Package jsonbody reads the JSON of a request piece by piece, so that a large body
// is never in memory as a whole. Errors are of package registry, and name the field.
package jsonbody

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
)

// Field of an object. Into is where its value goes: a *string, or what else
// encoding/json decodes into; or the fields of an object inside, as []Field.
type Field struct {
	Name string
	Into any
}

// maxFields of one object: a bit for each tells whether it has occurred.
const maxFields = 64

// Object reads an object, or null. Names are exact and occur once, which
// encoding/json does not ask for: a proxy must see the path that the registry takes.
func Object(decoder *json.Decoder, field string, fields []Field) error {
	o := object{field: field, fields: fields}
	if err := decoder.Decode(&o); err != nil {
		return failed(field, err)
	}
	return o.err
}

// object gets the bytes that the decoder has read, without a copy of them.
type object struct {
	field  string
	fields []Field
	err    error
}

func (o *object) UnmarshalJSON(text []byte) error {
	o.err = fill(text, o.field, o.fields)
	return nil // an error would be wrapped
}

// fill reads the text of a value, which is valid JSON.
func fill(text []byte, field string, fields []Field) error {
	switch {
	case text[0] == 'n':
		return nil
	case text[0] != '{':
		return registry.Invalid(field, "must be an object")
	}
	var occurred uint64
	for text = space(text[1:]); text[0] != '}'; text = space(bytes.TrimPrefix(text, []byte{','})) {
		length := value(text)
		name, err := unquote(text[:length])
		if err != nil {
			return failed(field, err)
		}
		inner := func() string { return field + "." + string(name[:min(len(name), maxNameShown)]) }
		text = space(space(text[length:])[1:]) // after the colon
		length = value(text)
		i := find(fields, name)
		if i < 0 {
			return registry.Invalid(inner(), "is not a field of this request")
		}
		if occurred&(1<<i) != 0 {
			return registry.Invalid(inner(), "must occur once")
		}
		occurred |= 1 << i
		switch into := fields[i].Into.(type) {
		case []Field:
			if err := fill(text[:length], inner(), into); err != nil {
				return err
			}
		case *string:
			if text[0] == '"' {
				found, err := unquote(text[:length])
				if err != nil {
					return failed(inner(), err)
				}
				*into = string(found)
				break
			}
			err = json.Unmarshal(text[:length], into)
		default:
			err = json.Unmarshal(text[:length], into)
		}
		if err != nil {
			return failed(inner(), err)
		}
		text = space(text[length:])
	}
	return nil
}

// find returns the index of the field of that name, -1 for none.
func find(fields []Field, name []byte) int {
	for i := range min(len(fields), maxFields) {
		if fields[i].Name == string(name) {
			return i
		}
	}
	return -1
}

// maxNameShown is how many bytes of an unknown name an error repeats.
const maxNameShown = 80

// unquote returns what a JSON string says.
func unquote(text []byte) ([]byte, error) {
	if bytes.IndexByte(text, '\\') < 0 {
		return text[1 : len(text)-1], nil
	}
	var said string
	err := json.Unmarshal(text, &said)
	return []byte(said), err
}

// space skips what may stand between tokens.
func space(text []byte) []byte {
	for text[0] == ' ' || text[0] == '\t' || text[0] == '\n' || text[0] == '\r' {
		text = text[1:]
	}
	return text
}

// value returns the length of the value that a valid text begins with.
func value(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i // of the object that a number stands in
			}
			if depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return len(text)
}

// Expect reads the token that must come next; words say what the field must be.
func Expect(decoder *json.Decoder, want json.Token, field, words string) error {
	switch got, err := decoder.Token(); {
	case err != nil:
		return failed(field, err)
	case got != want:
		return registry.Invalid(field, "must be %s", words)
	}
	return nil
}

// failed names the field at which a JSON body is invalid.
func failed(field string, err error) error {
	var (
		tooLarge *http.MaxBytesError
		typing   *json.UnmarshalTypeError
		syntax   *json.SyntaxError
	)
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, registry.ErrInvalid):
		return err
	case errors.Is(err, serving.ErrNotUTF8):
		return registry.Invalid("body", "must be UTF-8") // the decoder reads ahead, so field may be too early
	case errors.Is(err, serving.ErrHalved):
		return registry.Invalid("body", "%v", serving.ErrHalved)
	case errors.As(err, &typing):
		return registry.Invalid(field, "must not be a JSON %s", typing.Value)
	case errors.As(err, &syntax):
		return registry.Invalid(field, "is not JSON: %v", syntax)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return registry.Invalid("body", "ended before the JSON was complete")
	}
	return registry.Invalid(field, "cannot be read as JSON")
}
