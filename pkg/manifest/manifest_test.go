package manifest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
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

// sample2 is sample with all that schema version 2 has.
func sample2() *Manifest {
	m := sample()
	m.Files[1].Mode = ModeOf(0o644)
	m.Links = []Link{{"current", "bin/../bin"}, {"bin/it", "tool"}}
	m.Folders = []Folder{{Path: "var/empty"}, {"bin", ModeOf(0o700)}}
	return m
}

// golden reads annotated bytes, "#" starts a comment.
func golden(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
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
	for name, m := range map[string]*Manifest{"sample.hex": sample(), "sample2.hex": sample2()} {
		got, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if want := golden(t, name); !bytes.Equal(got, want) {
			t.Fatalf("%s: the format changed: old packages would get other digests\n got %x\nwant %x", name, got, want)
		}
	}
}

// What needs no second version is written in the first, whatever it was made of.
func TestTheLowestVersionIsWritten(t *testing.T) {
	t.Parallel()
	m := sample()
	m.Links, m.Folders = []Link{}, []Folder{}
	got, err := Encode(m)
	if err != nil || !bytes.Equal(got, golden(t, "sample.hex")) {
		t.Fatalf("%x, %v", got, err)
	}
	for name, add := range map[string]func(m *Manifest){
		"a link":          func(m *Manifest) { m.Links = []Link{{"l", "README"}} },
		"a folder":        func(m *Manifest) { m.Folders = []Folder{{Path: "d"}} },
		"a mode":          func(m *Manifest) { m.Files[0].Mode = ModeOf(0o600) },
		"no permission":   func(m *Manifest) { m.Files[0].Mode = ModeOf(0) },
		"a folder's mode": func(m *Manifest) { m.Folders = []Folder{{"bin", ModeOf(0o755)}} },
	} {
		m := sample()
		m.sort()
		add(m)
		data, err := Encode(m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if version, err := VersionOf(data); err != nil || version != 2 {
			t.Errorf("%s: version %d, %v", name, version, err)
		}
		if back, err := Decode(data); err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%s: %+v, %v, want %+v", name, back, err, m)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, m := range []*Manifest{sample(), sample2()} {
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
	link := func(path, target string) any { return map[string]any{"path": path, "target": target} }
	folder := func(path string) any { return map[string]any{"path": path} }
	two := func(list string, items ...any) map[string]any {
		return with([]any{file("a")}, list, items, "schemaVersion", 2)
	}
	for name, c := range map[string]struct {
		value any
		field string
	}{
		"files out of order":      {with([]any{file("b"), file("a")}), "manifest"},
		"explicit false":          {with([]any{file("a", "executable", false)}), "manifest"},
		"empty media type":        {with([]any{file("a")}, "mediaType", ""), "manifest"},
		"unknown field":           {with([]any{file("a", "mtime", 1)}), "manifest"},
		"other schema version":    {with([]any{file("a")}, "schemaVersion", 3), "manifest.schemaVersion"},
		"no schema version":       {with([]any{file("a")}, "schemaVersion", 0), "manifest.schemaVersion"},
		"a version too high":      {with([]any{file("a")}, "schemaVersion", 2), "manifest"},
		"a version too low":       {with([]any{file("a")}, "links", []any{link("l", "a")}), "manifest"},
		"no links in a list":      {with([]any{file("a")}, "links", []any{}, "schemaVersion", 2), "manifest"},
		"links out of order":      {two("links", link("m", "a"), link("l", "a")), "manifest"},
		"a field of a link":       {two("links", map[string]any{"path": "l", "target": "a", "mode": 1}), "manifest"},
		"a link's path":           {two("links", link("../l", "a")), "links[0].path"},
		"an empty target":         {two("links", link("l", "")), "links[0].target"},
		"an absolute target":      {two("links", link("l", "/a")), "links[0].target"},
		"a target outside":        {two("links", link("d/l", "../../a")), "links[0].target"},
		"a target above":          {two("links", link("l", "x/../../top/a")), "links[0].target"},
		"a target of odd text":    {two("links", link("l", `x\y`)), "links[0].target"},
		"a long target":           {two("links", link("l", strings.Repeat("a/", 513))), "links[0].target"},
		"a link as a file":        {two("links", link("a", "b")), "links[0].path"},
		"a link twice":            {two("links", link("l", "a"), link("l", "b")), "links[1].path"},
		"links equal after NFC":   {two("links", link("e\u0301", "a"), link("\u00e9", "a")), "links[1].path"},
		"a file below a link":     {with([]any{file("d/a")}, "links", []any{link("d", "e")}, "schemaVersion", 2), "files[0].path"},
		"a link below a link":     {two("links", link("d", "e"), link("d/l", "a")), "links[1].path"},
		"a link below a file":     {two("links", link("a/l", "b")), "links[0].path"},
		"a circle of links":       {two("links", link("l", "m/x"), link("m", "l")), "links[0].target"},
		"a link to itself":        {two("links", link("l", "l")), "links[0].target"},
		"out through a link":      {two("links", link("x/y/d", "../../top"), link("x/y/e", "d/../../z")), "links[1].target"},
		"out through later links": {two("links", link("x/y/d", "e/../../z"), link("x/y/e", "../../top")), "links[0].target"},
		"folders out of order":    {two("folders", folder("e"), folder("d")), "manifest"},
		"a folder as a file":      {two("folders", folder("a")), "folders[0].path"},
		"a folder below a file":   {two("folders", folder("a/d")), "folders[0].path"},
		"a folder twice":          {two("folders", folder("d"), folder("d")), "folders[1].path"},
		"a full folder":           {two("folders", folder("d"), folder("d/e")), "folders[0].path"},
		"a folder's path":         {two("folders", folder("d/")), "folders[0].path"},
		"a folder's mode":         {two("folders", map[string]any{"path": "d", "mode": 512}), "manifest.folders[0].mode"},
		"a negative mode":         {with([]any{file("a", "mode", -1)}, "schemaVersion", 2), "manifest.files[0].mode"},
		"another executable":      {with([]any{file("a", "mode", 0o755)}, "schemaVersion", 2), "files[0].mode"},
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
	for _, length := range []int{1, 23, 24, 200, 250} {
		name := strings.Repeat("p", length)
		m := &Manifest{Producer: "p", Name: "n", Version: "1", Files: []File{{Path: "f", Digests: digest.Of(nil), Mode: ModeOf(0o644)}, {Path: "g", Digests: digest.Of(nil), Mode: ModeOf(0)}}}
		for i := range length {
			m.Links = append(m.Links, Link{fmt.Sprintf("l%s/%d", name, i), name})
			m.Folders = append(m.Folders, Folder{Path: fmt.Sprintf("d%s/%d", name, i)}, Folder{fmt.Sprintf("e%s/%d", name, i), ModeOf(0o20)})
		}
		data, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		frame, _, err := m.encodeFrame()
		if err != nil {
			t.Fatal(err)
		}
		if want := len(frame) + m.extrasSize() + m.Files[0].encodedSize() + m.Files[1].encodedSize(); len(data) != want {
			t.Fatalf("extras of %d bytes: %d bytes, %d computed", length, len(data), want)
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
	for _, m := range []*Manifest{sample(), sample2()} {
		data, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
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

// What comes back from other systems as it was, or leads nowhere, is no reason to refuse a link.
func TestLinksThatAreTaken(t *testing.T) {
	t.Parallel()
	for name, links := range map[string][]Link{
		"to a file, a folder, the root": {{"l", "README"}, {"bin/up", ".."}, {"m", "bin/"}, {"here", "."}},
		"to nothing":                    {{"l", "nowhere/at/all"}},
		"with detours":                  {{"l", "./bin//../bin/./tool"}},
		"through links":                 {{"a/b/c", "../../bin"}, {"a/d", "b/c/tool"}, {"e", "a/d"}},
	} {
		m := sample()
		m.Links = links
		data, err := Encode(m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if back, err := Decode(data); err != nil || !reflect.DeepEqual(back.Links, m.Links) {
			t.Errorf("%s: %v, %v", name, back, err)
		}
	}
}

// A chain is as long as systems follow it, however it is sorted, and 100,000 links take no
// more than their number.
func TestChainsOfLinks(t *testing.T) {
	t.Parallel()
	for _, up := range []bool{true, false} {
		for length, taken := range map[int]bool{maxHops: true, maxHops + 1: false, MaxFiles - 2: false} {
			m := sample()
			for i := range length {
				to := i + 1
				if !up {
					to = i - 1
				}
				m.Links = append(m.Links, Link{fmt.Sprintf("l%06d", i), fmt.Sprintf("l%06d", to)})
			}
			if !up {
				m.Links[0].Target = "README"
			}
			if _, err := Encode(m); (err == nil) != taken {
				t.Errorf("%d links, up %t: %v", length, up, err)
			}
		}
	}
	m := sample()
	m.Links = append(m.Links, Link{"d", "bin"})
	for i := range MaxFiles - 3 {
		m.Links = append(m.Links, Link{fmt.Sprintf("l/%06d", i), "../d/../d/../d/tool"})
	}
	if _, err := Encode(m); err != nil {
		t.Error(err)
	}
	m.Links = append(m.Links, Link{"one", "more"})
	var invalid *InvalidError
	if _, err := Encode(m); !errors.As(err, &invalid) || invalid.Field != "files" {
		t.Errorf("got %v, want an InvalidError on files", err)
	}
}

func TestEmptyFolders(t *testing.T) {
	t.Parallel()
	m := sample2()
	m.Folders = append(m.Folders, Folder{"var", ModeOf(0o755)})
	if got := m.EmptyFolders(); got != 1 {
		t.Errorf("%d empty folders, want 1", got)
	}
}

func TestMode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Mode{"": 0, "0000": ModeOf(0), "0644": ModeOf(0o644), "0777": ModeOf(0o777)} {
		var got Mode
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want || got.String() != text {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"644", "0888", "1777", "07777", "-777", "+777"} {
		if err := new(Mode).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
