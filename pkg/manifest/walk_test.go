package manifest

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/coulomb/artifact-store/pkg/canonical"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// Walk gives what Decode gives.
func TestWalk(t *testing.T) {
	t.Parallel()
	m := &Manifest{Producer: "p", Name: "n", Version: "1", MediaType: "text/plain", Annotations: map[string]string{"b": "2", "a": "1"}}
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
	if err != nil {
		t.Fatal(err)
	}
	got.Files = files
	if !reflect.DeepEqual(want, got) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for name, change := range map[string]func(m map[string]any){
		"another version":  func(m map[string]any) { m["schemaVersion"] = SchemaVersion + 1 },
		"no version":       func(m map[string]any) { delete(m, "schemaVersion") },
		"an unknown field": func(m map[string]any) { m["links"] = "x" },
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
