package window

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/shares"
)

func named(path string, content []byte) registry.NamedContent {
	return registry.NamedContent{Path: path, Content: registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content))}}
}

// A package that outgrows its small window moves to a large one, with what it has.
func TestPackageGrows(t *testing.T) {
	t.Parallel()
	for _, sizes := range [][]int{{0}, {100}, {smallBytes}, {smallBytes + 1}, {smallBytes / 2, smallBytes/2 + 1, 0, 300 << 10}, {10, 1 << 20}} {
		pool := NewPool()
		filling := pool.Fill(t.Context(), time.Minute, nil)
		var sent [][]byte
		for i, size := range sizes {
			content := bytes.Repeat([]byte{byte('a' + i)}, size)
			sent = append(sent, content)
			if err := filling.Add(named(fmt.Sprint(i), content)); err != nil {
				t.Fatalf("%v: %v", sizes, err)
			}
		}
		files, err := filling.Take()
		if err != nil || len(files) != len(sent) {
			t.Fatalf("%v: %d files, %v", sizes, len(files), err)
		}
		for i, file := range files {
			if file.Path != fmt.Sprint(i) || !bytes.Equal(file.Bytes, sent[i]) {
				t.Errorf("%v: file %d is %s of %d bytes", sizes, i, file.Path, len(file.Bytes))
			}
		}
		if _, err := filling.End(nil); err != nil {
			t.Error(err)
		}
	}
}

// Packages whose sources pause hold all windows of a kind: they lose them when another
// holder waits, and are told so. One that is complete keeps its own.
func TestPackagesThatPause(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 1 << 10, "large": smallBytes + 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const tick = 20 * time.Millisecond
			pool, content := NewPool(), make([]byte, size)
			many := maxSmall
			if size > smallBytes {
				many = maxWindows
			}
			var (
				all     sync.WaitGroup
				mu      sync.Mutex
				lost    int
				release = make(chan struct{})
			)
			complete := pool.Fill(shares.WithHolder(t.Context(), "complete"), tick, nil)
			if err := complete.Add(named("a", content)); err != nil {
				t.Fatal(err)
			}
			if files, err := complete.Take(); err != nil || len(files) != 1 {
				t.Fatalf("%d files, %v", len(files), err)
			}
			for i := range many - 1 {
				filling := pool.Fill(shares.WithHolder(t.Context(), fmt.Sprint("holder ", i%4)), tick, nil)
				if err := filling.Add(named("a", content)); err != nil {
					t.Fatal(err)
				}
				all.Go(func() {
					<-release // it pauses
					err := filling.Add(named("b", nil))
					if files, taken := filling.Take(); err == nil && (taken != nil || len(files) != 2) {
						t.Errorf("%d files, %v: part of a package", len(files), taken)
					}
					if errors.Is(err, registry.ErrStalled) {
						mu.Lock()
						lost++
						mu.Unlock()
					} else if err != nil {
						t.Error(err)
					}
					filling.End(nil) //nolint:errcheck // it gives the window back
				})
			}
			ctx, cancel := context.WithTimeout(shares.WithHolder(t.Context(), "quick"), time.Minute)
			defer cancel()
			quick := pool.Fill(ctx, tick, nil)
			if err := quick.Add(named("a", content)); err != nil {
				t.Errorf("another holder's package: %v", err)
			}
			if files, err := quick.Take(); err != nil || len(files) != 1 {
				t.Errorf("another holder's package: %d files, %v", len(files), err)
			}
			quick.End(nil) //nolint:errcheck // as above
			close(release)
			all.Wait()
			if lost == 0 {
				t.Error("none lost its window")
			}
			complete.End(nil) //nolint:errcheck // as above
			for _, c := range []*class{&pool.small, &pool.large} {
				for _, one := range c.free {
					if len(one.files) > 0 || one.used+one.partial > 0 {
						t.Errorf("a window that was given back holds %d files", len(one.files))
					}
				}
			}
		})
	}
}
