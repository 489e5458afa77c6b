package manifest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coulomb/artifact-store/pkg/canonical"
	"github.com/coulomb/artifact-store/pkg/digest"
)

func sample() *Manifest {
	return &Manifest{
		Producer: "ci", Name: "tool", Version: "1.0",
		Annotations: map[string]string{"commit": "abc"},
		Files: []File{
			{Path: "bin/tool", Size: 3, Digests: digest.Of([]byte("abc")), Executable: true},
			{Path: "README", Size: 0, Digests: digest.Of(nil), MediaType: "text/plain"},
		},
	}
}

// golden reads testdata/sample.hex: the annotated bytes, "#" starts a comment.
func golden(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/sample.hex")
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		code, _, _ := strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(code), ""))
	}
	data, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEncodeIsTheGoldenBytes(t *testing.T) {
	t.Parallel()
	got, err := Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	if want := golden(t); !bytes.Equal(got, want) {
		t.Fatalf("the format changed: old packages would get other digests\n got %x\nwant %x", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	m := sample()
	data, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, back, cmp.Comparer(func(a, b digest.Digest) bool { return a == b })); diff != "" {
		t.Fatal(diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	file := func(path string, more ...any) map[string]any {
		f := map[string]any{"path": path, "size": 0, "sha256": digest.Of(nil).SHA256.Bytes(), "blake3": digest.Of(nil).BLAKE3.Bytes()}
		for i := 0; i < len(more); i += 2 {
			f[more[i].(string)] = more[i+1]
		}
		return f
	}
	with := func(files []any, more ...any) map[string]any {
		m := map[string]any{"schemaVersion": 1, "producer": "p", "name": "n", "version": "1", "files": files}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	for name, c := range map[string]struct {
		value any
		field string
	}{
		"files out of order":      {with([]any{file("b"), file("a")}), "manifest"},
		"explicit false":          {with([]any{file("a", "executable", false)}), "manifest"},
		"empty media type":        {with([]any{file("a")}, "mediaType", ""), "manifest"},
		"unknown field":           {with([]any{file("a", "mtime", 1)}), "manifest"},
		"other schema version":    {with([]any{file("a")}, "schemaVersion", 2), "manifest.schemaVersion"},
		"short digest":            {with([]any{file("a", "sha256", []byte{1})}), "manifest.files[0].sha256"},
		"negative size":           {with([]any{file("a", "size", -1)}), "files[0].size"},
		"escaping path":           {with([]any{file("../a")}), "files[0].path"},
		"twice":                   {with([]any{file("a"), file("a")}), "files[1].path"},
		"equal after NFC":         {with([]any{file("e\u0301"), file("\u00e9")}), "files[1].path"},
		"a file that is a folder": {with([]any{file("a"), file("a/b")}), "files[1].path"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := canonical.Marshal(c.value)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Decode(data)
			var invalid *InvalidError
			if !errors.As(err, &invalid) || invalid.Field != c.field {
				t.Fatalf("got %v, want an InvalidError on %s", err, c.field)
			}
		})
	}
}

func TestPathsThatDifferByCaseStandBesideEachOther(t *testing.T) {
	t.Parallel()
	m := sample()
	m.Files = append(m.Files, File{Path: "readme", Digests: digest.Of(nil)})
	if _, err := Encode(m); err != nil {
		t.Fatal(err)
	}
}

func TestValidatePath(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"a", "a/b", ".hidden", "a..b", "...", "ä/ö", "a b", "a:b", "C:", "-rf", strings.Repeat("a", 255), strings.Repeat("a/", 511) + "a"} {
		if err := ValidatePath(path); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, path := range []string{"", "/a", "//", "../a", "a/..", "a/../b", "./a", "a/.", "a//b", "a/", `a\b`, "a\x00b", "a\nb", "\x7f", "a\xff", strings.Repeat("a", 256), strings.Repeat("a/", 512) + "a"} {
		if err := ValidatePath(path); err == nil {
			t.Errorf("%q was taken", path)
		}
	}
}

func TestLargestManifestFits(t *testing.T) {
	t.Parallel()
	m := &Manifest{Producer: "p", Name: "n", Version: "1"}
	for i := range MaxFiles {
		m.Files = append(m.Files, File{Path: fmt.Sprintf("some/folder/of/the/tree/%09d.go", i), Digests: digest.Of(nil)})
	}
	data, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(data); err != nil {
		t.Fatal(err)
	}
	if cap(data) > len(data)+len(data)/50 {
		t.Errorf("an encoding of %d bytes takes %d", len(data), cap(data))
	}
	m.Files = append(m.Files, File{Path: "one/more", Digests: digest.Of(nil)})
	var invalid *InvalidError
	if _, err := Encode(m); !errors.As(err, &invalid) || invalid.Field != "files" {
		t.Fatalf("got %v, want an InvalidError on files", err)
	}
}

// The size is known before the encoding is made: of every form that a file has.
func TestEncodedSize(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, MaxFileSize} {
		for _, length := range []int{1, 23, 24, 200, 255, 256, 1000} {
			for _, mediaType := range []string{"", "a/b", strings.Repeat("x", 30), strings.Repeat("x", 255)} {
				for _, executable := range []bool{false, true} {
					path := strings.TrimSuffix(strings.Repeat(strings.Repeat("p", 199)+"/", 1+length/200)[:length], "/")
					m := &Manifest{Producer: "p", Name: "n", Version: "1", Files: []File{{Path: path, Size: size, MediaType: mediaType, Executable: executable, Digests: digest.Of(nil)}}}
					data, err := Encode(m)
					if err != nil {
						t.Fatal(err)
					}
					frame, at, err := m.encodeFrame()
					if err != nil || frame[at] != 0x80 {
						t.Fatalf("the empty list is not at %d of %x: %v", at, frame, err)
					}
					if want := len(frame) + m.Files[0].encodedSize(); len(data) != want {
						t.Fatalf("size %d, path %d, %q, %v: %d bytes, %d computed", size, len(path), mediaType, executable, len(data), want)
					}
				}
			}
		}
	}
	m := &Manifest{Producer: "p", Name: "n", Version: "1"}
	for i := range MaxFiles {
		m.Files = append(m.Files, File{Path: fmt.Sprintf("%s/%06d", strings.Repeat("p", 250), i), Digests: digest.Of(nil)})
	}
	var invalid *InvalidError
	if _, err := Encode(m); !errors.As(err, &invalid) || invalid.Field != "files" {
		t.Fatalf("got %v, want an InvalidError on files", err)
	}
}

func FuzzDecode(f *testing.F) {
	data, err := Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(m)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("one value, two encodings: %x and %x (%v)", data, again, err)
		}
	})
}
