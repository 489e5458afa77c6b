package server

import (
	"encoding/json"
	"io"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/fxamacker/cbor/v2"

	"github.com/coulomb/artifact-store/pkg/serving"
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
		if err := serving.CheckJSON(data, maxJSONValues, maxJSONDepth); err != nil {
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
