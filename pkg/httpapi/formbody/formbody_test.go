package formbody_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/coulomb/artifact-store/pkg/httpapi/formbody"
	"github.com/coulomb/artifact-store/pkg/registry"
)

const (
	contentType = "multipart/form-data; boundary=b"
	part        = "--b\r\nContent-Disposition: form-data; name=\"one\"\r\n"
)

func TestForm(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ body, field string }{
		"whole":                     {part + "Content-Type: text/plain; charset=utf-8\r\n\r\ntext\r\n--b--\r\n", ""},
		"as curl sends a file":      {part + "Content-Type: application/octet-stream\r\n\r\ntext\r\n--b--\r\n", ""},
		"without a type":            {part + "\r\ntext\r\n--b--", ""},
		"empty":                     {"", "body"},
		"no form":                   {"text", "body"},
		"no part":                   {"--b--\r\n", "one"},
		"another part":              {"--b\r\nContent-Disposition: form-data; name=\"two\"\r\n\r\ntext\r\n--b--\r\n", "one"},
		"another type":              {part + "Content-Type: text/html\r\n\r\ntext\r\n--b--\r\n", "one"},
		"encoded":                   {part + "Content-Transfer-Encoding: quoted-printable\r\n\r\ntext\r\n--b--\r\n", "one"},
		"cut in the header":         {part, "body"},
		"cut before its end":        {part + "\r\ntext\r\n--b", "body"},
		"one part too many":         {part + "\r\ntext\r\n" + part + "\r\n\r\n--b--\r\n", "body"},
		"a header without an end":   {part + "X: " + strings.Repeat("x", 1<<20), "body"},
		"headers without an end":    {part + strings.Repeat("X: y\r\n", 1<<16), "body"},
		"a preamble without an end": {strings.Repeat("x\r\n", 1<<16), "body"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := read(test.body)
			var invalid *registry.InvalidError
			switch {
			case test.field == "" && err != nil:
				t.Fatal(err)
			case test.field != "" && (!errors.As(err, &invalid) || invalid.Field != test.field):
				t.Fatalf("got %v, want an error on %s", err, test.field)
			}
		})
	}
}

func read(body string) error {
	return errors.Join(readFrom(strings.NewReader(body)), readFrom(iotest.OneByteReader(strings.NewReader(body))))
}

func readFrom(body io.Reader) error {
	form, err := formbody.NewReader(body, contentType)
	if err != nil {
		return err
	}
	one, err := form.Part("one", "text/plain")
	if err != nil {
		return err
	}
	if _, err := io.ReadAll(one); err != nil {
		return err
	}
	return form.End()
}

// What the body itself says goes to the caller as it is.
func TestBodyFails(t *testing.T) {
	t.Parallel()
	failed := errors.New("the body stopped")
	form, err := formbody.NewReader(io.MultiReader(strings.NewReader(part), failing{failed}), contentType)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := form.Part("one", "text/plain"); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestContentType(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "multipart/form-data", "multipart/mixed; boundary=b", "application/json", "multipart/form-data; boundary"} {
		if _, err := formbody.NewReader(strings.NewReader(""), text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
