package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/coulomb/artifact-store/pkg/canonical"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// Walk gives what Decode gives.
func TestWalk(t *testing.T) {
	t.Parallel()
	m := &Manifest{Producer: "p", Name: "n", Version: "1", MediaType: "text/plain", Annotations: map[string]string{"b": "2", "a": "1", "c": strings.Repeat("x", 4096), "d": strings.Repeat("y", 4096)},
		Links: []Link{{"l", "f1"}, {"m", "f2"}}, Folders: []Folder{{Path: "d"}, {"e", ModeOf(0o700)}}}
	for i := range 300 {
		m.Files = append(m.Files, File{Path: fmt.Sprint("f", i), Size: int64(i), Digests: digest.Of(fmt.Append(nil, i)), Executable: i%2 == 0})
	}
	encoded, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var files []File
	got, err := Walk(encoded, func(number int, f File) error {
		if number != len(files) {
			t.Errorf("file %d comes as number %d", len(files), number)
		}
		files = append(files, f)
		return nil
	})
	if err != nil || got.Links != nil || got.Folders != nil {
		t.Fatal(got, err)
	}
	got.Files, got.Links, got.Folders = files, want.Links, want.Folders
	if !reflect.DeepEqual(want, got) {
		t.Errorf("%+v, want %+v", got, want)
	}
	var all Manifest
	gather := Each{
		File:   func(_ int, f File) error { all.Files = append(all.Files, f); return nil },
		Link:   func(_ int, l Link) error { all.Links = append(all.Links, l); return nil },
		Folder: func(_ int, f Folder) error { all.Folders = append(all.Folders, f); return nil },
	}
	for name, from := range map[string]io.Reader{"at once": bytes.NewReader(encoded), "byte by byte": iotest.OneByteReader(bytes.NewReader(encoded)), "with its end": iotest.DataErrReader(bytes.NewReader(encoded))} {
		if got, err = Stream(from, gather); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got.Files, got.Links, got.Folders, all = all.Files, all.Links, all.Folders, Manifest{}
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if _, err := Stream(bytes.NewReader(encoded[:len(encoded)/2]), Each{}); err == nil {
		t.Error("half of it is taken")
	}
	broken := errors.New("broken")
	if _, err := Stream(io.MultiReader(bytes.NewReader(encoded[:len(encoded)/2]), iotest.ErrReader(broken)), Each{}); !errors.Is(err, broken) {
		t.Errorf("a source that fails: %v", err)
	}
	for name, change := range map[string]func(m map[string]any){
		"another version":  func(m map[string]any) { m["schemaVersion"] = SchemaVersion + 1 },
		"no version":       func(m map[string]any) { delete(m, "schemaVersion") },
		"an unknown field": func(m map[string]any) { m["devices"] = "x" },
		"a link's unknown field": func(m map[string]any) {
			m["links"].([]any)[0].(map[any]any)["mode"] = 1
		},
		"an unknown field of a file": func(m map[string]any) {
			m["files"].([]any)[0].(map[any]any)["target"] = "x"
		},
	} {
		var generic map[string]any
		if err := canonical.Unmarshal(encoded, &generic); err != nil {
			t.Fatal(err)
		}
		change(generic)
		other, err := canonical.Marshal(generic)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Walk(other, func(int, File) error { return nil }); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := Walk(append(encoded, 0), func(int, File) error { return nil }); err == nil {
		t.Error("a byte behind the end is taken")
	}
}

// What JSON writes is what encoding/json makes of the whole.
func TestJSON(t *testing.T) {
	t.Parallel()
	for _, files := range []int{0, 1, 2, 3, 300} {
		m := &Manifest{Producer: "p", Name: "<n>", Version: "1", Annotations: map[string]string{"b": "2", "a": "1"}, Files: []File{}}
		for i := range files {
			m.Files = append(m.Files, File{Path: fmt.Sprintf("f&%04d", i), Size: int64(i), Digests: digest.Of(fmt.Append(nil, i)), Executable: i%2 == 0})
		}
		if files%3 > 0 {
			m.Links = []Link{{"l", "<f>"}, {"m", "l"}}
		}
		if files%2 > 0 {
			m.Folders = []Folder{{Path: "d"}, {"e", ModeOf(0)}}
		}
		encoded, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(encoded)), nil }
		j, err := NewJSON(Digest(encoded), open)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var got bytes.Buffer
			if err := j.Write(&got); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%d files: %v\n%s, want\n%s", files, err, got.Bytes(), want)
			}
		}
		if _, err := NewJSON(digest.Of(nil).SHA256, open); !errors.Is(err, ErrOther) {
			t.Errorf("another manifest: %v", err)
		}
	}
}
