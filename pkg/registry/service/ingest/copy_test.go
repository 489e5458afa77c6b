package ingest

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
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
		files []upload.File
		gone  []digest.Digest
		want  []string
	)
	for i := range manifest.MaxFiles {
		path := fmt.Sprintf("file-%06d", i)
		files = append(files, upload.File{Path: path, Digests: digest.Dual{SHA256: content(i)}})
		gone = append(gone, content(i+manifest.MaxFiles)) // of no file
		if i >= manifest.MaxFiles-2*pathsInError && i < manifest.MaxFiles-pathsInError {
			gone, want = append(gone, content(i)), append(want, path)
		}
	}
	ctx := context.Background()
	db, err := database.Open(ctx, "sqlite://"+filepath.Join(t.TempDir(), "registry.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // a test's
	if err := upload.Migrate(ctx, db); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(ctx, func(tx database.Tx) error { return upload.InsertFiles(ctx, tx, "u", files) }); err != nil {
		t.Fatal(err)
	}
	find := func(gone []digest.Digest) (got []string, took time.Duration) {
		began := time.Now()
		if err := db.Read(ctx, func(tx database.Tx) (err error) {
			got, err = upload.FindPaths(ctx, tx, "u", gone, pathsInError)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return got, time.Since(began)
	}
	_, once := find(gone[:1]) // reads all files once
	got, took := find(gone)
	if took > 20*once {
		t.Errorf("took %v, reading the files takes %v", took, once)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
