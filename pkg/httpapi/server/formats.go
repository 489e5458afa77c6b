package server

import (
	"io"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fxamacker/cbor/v2"
)

// formats of the JSON operations, which also support CBOR (Content-Type and
// Accept: application/cbor), with the same field names, and digests and times as text.
var formats = map[string]huma.Format{
	"application/json": huma.DefaultJSONFormat,
	"json":             huma.DefaultJSONFormat,
	"application/cbor": cborFormat,
	"cbor":             cborFormat,
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
	DupMapKey:       cbor.DupMapKeyEnforcedAPF,
	MaxNestedLevels: 16,
	TextUnmarshaler: cbor.TextUnmarshalerTextString,
	DefaultMapType:  stringMap, // as encoding/json does; huma validates such maps
}.DecMode())

func must[T any](mode T, err error) T {
	if err != nil {
		panic(err) // the options are constants, and a test runs this
	}
	return mode
}
