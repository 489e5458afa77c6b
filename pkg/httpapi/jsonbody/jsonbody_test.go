package jsonbody

import (
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// fieldsRead is what the objects of this test may have.
type fieldsRead struct {
	text   string
	number *int64
	yes    bool
	inner  string
}

func read(text string, wrap func(io.Reader) io.Reader) (v fieldsRead, err error) {
	err = Object(NewDecoder(wrap(strings.NewReader(text))), "it", []Field{
		{"text", &v.text}, {"number", &v.number}, {"yes", &v.yes}, {"in", []Field{{"inner", &v.inner}}},
	})
	return v, err
}

// FuzzObject: what is read is what encoding/json reads, or it is refused.
func FuzzObject(f *testing.F) {
	for _, text := range []string{
		`{}`, `null`, `{"text":"a\"}","number":1}`, `{ "number" : -0.0e1 , "yes":true}`, `{"in":{"inner":"x"},"number":7}`, `{"in":null,"text":null}`,
		`{"te\u0078t":"\ud83d\ude00\\"}`, `{"in":[{"inner":"}"}]}`, `{"text":{"a":[1,{"b":"]"}]}}`, `{"number":1`, `{"text":"a","text":"b"}`, "{\"text\":\"a \\\" \t \"\n\n}", `{"":1}`, `[]`, `"x"`, `{"number":"`, `{"yes":tr  ue}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // the reader before this one refuses it
		}
		got, err := read(text, func(r io.Reader) io.Reader { return r })
		bytewise, errBytewise := read(text, iotest.OneByteReader)
		if (err == nil) != (errBytewise == nil) || err == nil && (got.text != bytewise.text || got.yes != bytewise.yes || got.inner != bytewise.inner) {
			t.Fatalf("%q: %+v, %v; byte by byte %+v, %v", text, got, err, bytewise, errBytewise)
		}
		if err != nil {
			if !errors.Is(err, registry.ErrInvalid) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		var want struct {
			Text   string
			Number *int64
			Yes    bool
			In     struct{ Inner string }
		}
		if err := json.NewDecoder(strings.NewReader(text)).Decode(&want); err != nil {
			t.Fatalf("%q was taken: %v", text, err)
		}
		if got.text != want.Text || got.yes != want.Yes || got.inner != want.In.Inner || (got.number == nil) != (want.Number == nil) || got.number != nil && *got.number != *want.Number {
			t.Errorf("%q: %+v, encoding/json says %+v", text, got, want)
		}
	})
}

// A body never makes the decoder hold more than a value, whatever is in it.
func TestLittleIsHeld(t *testing.T) {
	for what, body := range map[string]io.Reader{
		"one long text":       io.MultiReader(strings.NewReader(`{"text":"`), io.LimitReader(forever('x'), 64<<20), strings.NewReader(`"}`)),
		"white space":         io.MultiReader(io.LimitReader(forever(' '), 64<<20), strings.NewReader(`{}`)),
		"white space, inside": io.MultiReader(strings.NewReader(`{"number":`), io.LimitReader(forever('\n'), 64<<20), strings.NewReader(`7}`)),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var v fieldsRead
		err := Object(NewDecoder(body), "it", []Field{{"text", &v.text}, {"number", &v.number}})
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 {
			t.Errorf("%s took %d MiB", what, took>>20)
		}
		if long := what == "one long text"; long != errors.Is(err, registry.ErrInvalid) || err != nil && !long {
			t.Errorf("%s: %v", what, err)
		}
	}
}

type forever byte

func (f forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(f)
	}
	return len(p), nil
}
