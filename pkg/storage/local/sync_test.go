package local_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
)

// TestNoSync: a file system that cannot be synced has a reason of its own, and can be
// read. That of /proc answers EINVAL, as some mounts of CIFS and FUSE do.
func TestNoSync(t *testing.T) {
	t.Parallel()
	const path = "/proc/self"
	if err := local.SyncFolder(path); storage.ReasonOf(err) != storage.ReasonSyncUnsupported {
		t.Errorf("%v (%s)", err, storage.ReasonOf(err))
	}
	b, err := local.Open(t.Context(), local.Config{Path: path}, buffer.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Health(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := b.ReadMarker(t.Context()); !errors.Is(err, storage.ErrNotFound) {
		t.Error(err)
	}
	data := []byte("data")
	if _, err := b.Head(t.Context(), digest.Of(data).SHA256); !errors.Is(err, storage.ErrNotFound) {
		t.Error(err)
	}
	if _, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(data), Size: storage.UnknownSize}); err == nil {
		t.Error("it was stored")
	}
}
