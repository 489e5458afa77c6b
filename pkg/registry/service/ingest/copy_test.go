package ingest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

// A package of 100,000 files of which almost as many blobs are gone: it took 67 s
// when each file was compared with each blob, and takes milliseconds.
func TestPathsOfManyBlobs(t *testing.T) {
	t.Parallel()
	content := func(i int) digest.Digest {
		var sum [32]byte
		binary.BigEndian.PutUint64(sum[:], uint64(i))
		return digest.New(digest.SHA256, sum)
	}
	var (
		m    manifest.Manifest
		gone []digest.Digest
		want []string
	)
	for i := range manifest.MaxFiles {
		path := fmt.Sprintf("file-%06d", i)
		m.Files = append(m.Files, manifest.File{Path: path, Digests: digest.Dual{SHA256: content(i)}})
		gone = append(gone, content(i+manifest.MaxFiles)) // of no file
		if i >= manifest.MaxFiles-2*pathsInError && i < manifest.MaxFiles-pathsInError {
			gone, want = append(gone, content(i)), append(want, path)
		}
	}
	began := time.Now()
	got := pathsOf(&m, gone)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
