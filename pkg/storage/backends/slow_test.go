package backends_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/servers"
)

// slow gives a few bytes, says that it did, and then none until it is released.
type slow struct {
	once    sync.Once
	reached func()
	release <-chan struct{}
}

func (s *slow) Read(p []byte) (int, error) {
	first := false
	s.once.Do(func() { first = true })
	if first {
		return copy(p, "slow"), nil
	}
	s.reached()
	<-s.release
	return 0, io.ErrUnexpectedEOF
}

// TestSlowClients: clients that have announced much and sent next to nothing do
// not keep others from the memory of uploads.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) backends.Config{
		"local": func(t *testing.T) backends.Config { return backends.Config{Local: &local.Config{Path: t.TempDir()}} },
		"s3": func(t *testing.T) backends.Config {
			server := servers.S3(t)
			return backends.Config{S3: &s3.Config{
				EndpointURL: server.Endpoint, Region: server.Region, Bucket: server.Bucket,
				AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey),
				MultipartThresholdBytes: 8 << 20, MultipartChunkBytes: 8 << 20,
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := buffer.New(16<<20, 8<<20)
			store, err := backends.Open(t.Context(), open(t), pool)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			release := make(chan struct{})
			var reached, ended sync.WaitGroup
			for _, size := range []int64{100, 6 << 20, 10 << 20, storage.UnknownSize} {
				for range pool.Count() + 1 {
					reached.Add(1)
					source := storage.Source{Reader: &slow{reached: sync.OnceFunc(reached.Done), release: release}, Size: size}
					if size > 8<<20 {
						source.Want = digest.Of([]byte("declared"))
					}
					ended.Go(func() {
						if _, err := store.Put(t.Context(), source); !errors.Is(err, storage.ErrSource) {
							t.Errorf("a source that broke off: %v", err)
						}
					})
				}
			}
			defer ended.Wait()
			defer close(release)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			all := make(chan struct{})
			go func() { reached.Wait(); close(all) }()
			select {
			case <-all:
			case <-ctx.Done():
				t.Error("not every client was heard")
			}
			data := bytes.Repeat([]byte("quick"), 1<<20)
			if _, err := store.Put(ctx, storage.Source{Reader: bytes.NewReader(data), Size: int64(len(data))}); err != nil {
				t.Errorf("a quick client beside slow ones: %v", err)
			}
			if held := pool.InUse(); held != 0 {
				t.Errorf("%d buffers are held for slow clients", held)
			}
		})
	}
}
