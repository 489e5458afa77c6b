package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestHeldIsNotWrittenAgain, so that on MinIO it does not wait for a download. The bytes
// are compared all the same, and written if the object is missing or of another size.
func TestHeldIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		for _, size := range []int64{1000, 3 * threshold} {
			t.Run(fmt.Sprint(kind, "/", size), func(t *testing.T) {
				t.Parallel()
				server := servers.S3On(t, kind, false)
				b := open(t, server, configFor(server), buffer.New(24<<20, 8<<20))
				t.Cleanup(func() { b.Close() })
				data := storagetest.Bytes(1, size)
				held := func(data []byte) storage.Source {
					src := source(data)
					src.Held = true
					return src
				}
				if info, err := b.Put(t.Context(), held(data)); err != nil || info.Held {
					t.Fatalf("nothing is there yet: %+v, %v", info, err)
				}
				reader, _, err := b.Get(t.Context(), storageDigest(data), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer reader.Close()
				if _, err := io.ReadFull(reader, make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if info, err := b.Put(t.Context(), held(data)); err != nil || !info.Held || info.Size != size || !source(data).Want.Matches(info.Digests) {
					t.Errorf("%+v, %v", info, err)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it waited %s for a reader", took)
				}
				wrong := held(data)
				wrong.Reader = bytes.NewReader(append([]byte("x"), data[1:]...))
				if _, err := b.Put(t.Context(), wrong); !errors.Is(err, storage.ErrMismatch) {
					t.Errorf("other bytes: %v", err)
				}
			})
		}
	}
}
