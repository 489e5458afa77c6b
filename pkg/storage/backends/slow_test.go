package backends_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/shares"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/servers"
)

// slow returns a number of bytes, signals that it did, and then nothing until it is
// released; then it fails.
type slow struct {
	left    int
	reached func()
	release <-chan struct{}
}

func (s *slow) Read(p []byte) (int, error) {
	if s.left > 0 {
		n := min(s.left, len(p))
		clear(p[:n])
		s.left -= n
		return n, nil
	}
	s.reached()
	<-s.release
	return 0, io.ErrUnexpectedEOF
}

// crowd is many slow clients of one store.
type crowd struct {
	store   storage.Store
	release chan struct{}
	reached sync.WaitGroup // every client has sent its last byte
	ended   sync.WaitGroup
}

// each is a holder for every client.
func each(i int) string { return fmt.Sprint("client ", i) }

// add lets n clients announce size bytes and send the first few.
func (c *crowd) add(t *testing.T, n int, size int64, sent int, holder func(i int) string) {
	for i := range n {
		c.reached.Add(1)
		source := storage.Source{Reader: &slow{sent, sync.OnceFunc(c.reached.Done), c.release}, Size: size}
		if size > 8<<20 {
			source.Want = digest.Of([]byte("declared"))
		}
		ctx := shares.WithHolder(t.Context(), holder(i))
		c.ended.Go(func() {
			if _, err := c.store.Put(ctx, source); !errors.Is(err, storage.ErrSource) {
				t.Errorf("an interrupted source: %v", err)
			}
		})
	}
}

// heard waits until each client has sent its last byte.
func (c *crowd) heard(t *testing.T) {
	t.Helper()
	all := make(chan struct{})
	go func() { c.reached.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(time.Minute):
		t.Fatal("not every client was heard")
	}
}

// end interrupts all of them.
func (c *crowd) end() {
	close(c.release)
	c.ended.Wait()
}

// forSlow opens a store of each driver with few buffers.
var forSlow = map[string]func(t *testing.T) backends.Config{
	"local": func(t *testing.T) backends.Config { return backends.Config{Local: &local.Config{Path: t.TempDir()}} },
	"s3": func(t *testing.T) backends.Config {
		server := servers.S3(t)
		return backends.Config{S3: &s3.Config{
			EndpointURL: server.Endpoint, Region: server.Region, Bucket: server.Bucket,
			AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey),
			MultipartThresholdBytes: 8 << 20, MultipartChunkBytes: 8 << 20,
		}}
	},
}

func openForSlow(t *testing.T, driver string) (*crowd, *buffer.Pool) {
	t.Helper()
	pool := buffer.New(16<<20, 8<<20)
	store, err := backends.Open(t.Context(), forSlow[driver](t), pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return &crowd{store: store, release: make(chan struct{})}, pool
}

// quick are a size that needs no buffer of the budget, and one that does.
var quick = []int64{100, 5 << 20}

func putQuick(ctx context.Context, store storage.Store) error {
	for i, size := range quick {
		data := bytes.Repeat([]byte{byte(i), 'q'}, int(size/2))
		if _, err := store.Put(ctx, storage.Source{Reader: bytes.NewReader(data), Size: size}); err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
	}
	return nil
}

// TestSlowClients: clients that have announced much and sent almost nothing (or, to
// a folder, anything) do not take upload memory from others, however many there are.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		driver string
		sent   int
	}{
		{"local", 0}, {"local", 1}, {"local", 4000}, {"local", 4096}, {"local", 8192}, {"local", 50_000}, {"local", 69_632}, {"local", 100_001},
		{"s3", 0}, {"s3", 1}, {"s3", 4000},
	} {
		t.Run(fmt.Sprintf("%s after %d", test.driver, test.sent), func(t *testing.T) {
			t.Parallel()
			clients, pool := openForSlow(t, test.driver)
			defer clients.end()
			for _, size := range []int64{60 << 10, 6 << 20, 10 << 20, storage.UnknownSize} {
				if size == storage.UnknownSize || size > int64(test.sent) {
					clients.add(t, buffer.SmallCount+1, size, test.sent, each)
				}
			}
			clients.heard(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := putQuick(ctx, clients.store); err != nil {
				t.Errorf("a quick client beside slow ones: %v", err)
			}
			// Their first bytes may still be being hashed.
			for end := time.Now().Add(10 * time.Second); pool.InUse()+pool.Small().InUse() > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d and %d small buffers are held for slow clients", pool.InUse(), pool.Small().InUse())
				}
			}
		})
	}
}

// TestStalledClients: clients that stall later hold the buffer that they were
// filling (for a bucket), and no more than there are. Others wait, and continue as
// soon as a stalled one ends: package serving ends each after its StallTimeout.
func TestStalledClients(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		size    int64
		sent    int
		holders func(*buffer.Pool) *buffer.Pool
		quick   int64 // what has to wait
	}{
		{60 << 10, 5000, (*buffer.Pool).Small, 100},
		{6 << 20, 5 << 20, func(p *buffer.Pool) *buffer.Pool { return p }, 5 << 20},
	} {
		t.Run(fmt.Sprint(test.size), func(t *testing.T) {
			t.Parallel()
			clients, pool := openForSlow(t, "s3")
			held := test.holders(pool)
			clients.add(t, held.Count(), test.size, test.sent, each)
			clients.heard(t)
			if held.InUse() != held.Count() {
				t.Errorf("%d of %d buffers are held", held.InUse(), held.Count())
			}
			stored := make(chan error, 1)
			go func() {
				data := bytes.Repeat([]byte("quick"), int(test.quick/5))
				_, err := clients.store.Put(t.Context(), storage.Source{Reader: bytes.NewReader(data), Size: int64(len(data))})
				stored <- err
			}()
			select {
			case err := <-stored:
				t.Errorf("stored without memory: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
			clients.release <- struct{}{} // one ends
			select {
			case err := <-stored:
				if err != nil {
					t.Errorf("after a stalled client has ended: %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("still waiting after a stalled client has ended")
			}
			clients.end()
			if held.InUse() != 0 {
				t.Errorf("%d buffers were not given back", held.InUse())
			}
		})
	}
}

// TestStalledClientsOfOneHolder: however many there are, they leave some of the
// buffers to others, who do not wait.
func TestStalledClientsOfOneHolder(t *testing.T) {
	t.Parallel()
	server := forSlow["s3"](t)
	pool := buffer.New(32<<20, 8<<20)
	store, err := backends.Open(t.Context(), server, pool)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	clients := &crowd{store: store, release: make(chan struct{})}
	defer clients.end()
	one := func(int) string { return "one" }
	clients.add(t, 3, 6<<20, 5<<20, one)
	clients.add(t, 96, 60<<10, 5000, one)
	clients.heard(t)
	if pool.InUse() != 3 || pool.Small().InUse() != 96 {
		t.Errorf("%d of 4 and %d of 128 small buffers are held", pool.InUse(), pool.Small().InUse())
	}
	clients.add(t, 10, 6<<20, 5<<20, one) // these wait
	clients.add(t, 100, 60<<10, 5000, one)
	ctx, cancel := context.WithTimeout(shares.WithHolder(t.Context(), "another"), time.Minute)
	defer cancel()
	for range 3 {
		if err := putQuick(ctx, store); err != nil {
			t.Errorf("another holder: %v", err)
		}
	}
}
