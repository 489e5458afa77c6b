package bounds

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// bystander is another holder, who reads and uploads something small all the time.
type bystander struct {
	w *world

	mu    sync.Mutex
	most  time.Duration
	since map[string]time.Time // what is waited for
}

// begin forgets what was before.
func (b *bystander) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.most = 0
}

// longest is the longest wait since begin, one that is not over included.
func (b *bystander) longest() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	most := b.most
	for _, since := range b.since {
		most = max(most, time.Since(since))
	}
	return most
}

// waits measures one request.
func (b *bystander) waits(ctx context.Context, what string, request func() error) {
	b.mu.Lock()
	if b.since == nil {
		b.since = map[string]time.Time{}
	}
	began := time.Now()
	b.since[what] = began
	b.mu.Unlock()
	err := request()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.since, what)
	b.most = max(b.most, time.Since(began))
	if err != nil && ctx.Err() == nil {
		b.w.t.Errorf("another holder, %s: %v", what, err)
	}
}

const gap = 50 * time.Millisecond

func (b *bystander) read(ctx context.Context) {
	small := digest.Of([]byte("small")).SHA256
	for ctx.Err() == nil {
		b.waits(ctx, "get a package", func() error {
			_, err := b.w.other.GetPackage(ctx, registry.PackageRef{Producer: "other", Name: "n", Version: "small"})
			return err
		})
		b.waits(ctx, "get a blob", func() error {
			body, _, err := b.w.other.OpenBlob(registry.WithHolder(ctx, "other"), small, nil)
			if err == nil {
				_, err = io.ReadAll(body)
				body.Close() //nolint:errcheck // a test's
			}
			return err
		})
		time.Sleep(gap)
	}
}

func (b *bystander) write(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		var upload registry.Upload
		b.waits(ctx, "open", func() (err error) {
			upload, err = open(ctx, b.w.other, "other", fmt.Sprint("beside-", i), nil)
			return err
		})
		b.waits(ctx, "put", func() error {
			_, err := b.w.other.PutFile(ctx, upload.ID, "f", registry.Content{Reader: strings.NewReader("small"), Size: 5})
			return err
		})
		b.waits(ctx, "publish", func() error {
			_, err := b.w.other.Publish(ctx, upload.ID, nil)
			return err
		})
		time.Sleep(gap)
	}
}
