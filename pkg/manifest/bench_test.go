package manifest

import (
	"fmt"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
)

func BenchmarkDecode10000Files(b *testing.B) {
	m := &Manifest{Producer: "p", Name: "n", Version: "1"}
	for i := range 10_000 {
		m.Files = append(m.Files, File{Path: fmt.Sprintf("some/folder/of/the/tree/%09d.go", i), Digests: digest.Of(nil)})
	}
	data, err := Encode(m)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
