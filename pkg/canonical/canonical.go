// Package canonical encodes values as deterministic CBOR and decodes nothing else, so
// that a value has exactly one encoding and one digest.
//
// Deterministic is RFC 8949, section 4.2.1: map keys in bytewise order of
// their encodings, shortest forms, definite lengths. Tags are refused as well:
// nothing here needs them.
package canonical

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

const (
	// MaxElements bounds each array and each map, in elements or pairs.
	MaxElements = 1 << 20
	// MaxDepth bounds nesting.
	MaxDepth = 16
)

// ErrNotCanonical is returned for bytes that are not the only encoding of their value.
var ErrNotCanonical = errors.New("not deterministic CBOR (RFC 8949, section 4.2.1)")

var encoder = must(encoding().UserBufferEncMode())

func encoding() cbor.EncOptions {
	options := cbor.CoreDetEncOptions()
	options.TagsMd = cbor.TagsForbidden
	return options
}

var decoder = must(cbor.DecOptions{
	DupMapKey:         cbor.DupMapKeyEnforcedAPF,
	IndefLength:       cbor.IndefLengthForbidden,
	TagsMd:            cbor.TagsForbidden,
	ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	MaxArrayElements:  MaxElements,
	MaxMapPairs:       MaxElements,
	MaxNestedLevels:   MaxDepth,
}.DecMode())

func must[T any](value T, err error) T {
	if err != nil {
		panic(err) // the options above are constants
	}
	return value
}

// Marshal returns the deterministic encoding of v.
func Marshal(v any) ([]byte, error) { return encoder.Marshal(v) }

// MarshalTo appends the deterministic encoding of v to a buffer.
func MarshalTo(into *bytes.Buffer, v any) error { return encoder.MarshalToBuffer(v, into) }

// Unmarshal decodes data into v, which must have every field. Anything but the only
// encoding of its value is ErrNotCanonical.
func Unmarshal(data []byte, v any) error {
	if err := Check(data); err != nil {
		return err
	}
	if err := decoder.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decoding CBOR: %w", err)
	}
	return nil
}

// checkAgain is what Check does, by a generic value that is encoded again: it takes
// some ten times the memory of the data.
func checkAgain(data []byte) error {
	var value any
	if err := decoder.Unmarshal(data, &value); err != nil {
		return fmt.Errorf("%w: %w", ErrNotCanonical, err)
	}
	again, err := encoder.Marshal(value)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotCanonical, err)
	}
	if !bytes.Equal(again, data) {
		return ErrNotCanonical
	}
	return nil
}
