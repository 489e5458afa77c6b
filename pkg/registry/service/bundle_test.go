package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// hanging gives some bytes, and hangs before it gives the rest.
type hanging struct {
	first, rest io.Reader
	hangs       func() // called once, before it hangs
	until       <-chan struct{}
}

func (h *hanging) Read(p []byte) (int, error) {
	if n, err := h.first.Read(p); err == nil {
		return n, nil
	}
	if h.hangs != nil {
		h.hangs()
		h.hangs = nil
	}
	<-h.until
	return h.rest.Read(p)
}

// Bundles that hang, between two files or within one, keep no other bundle from
// its memory, however many there are. What they had sent is stored.
func TestBundlesThatHang(t *testing.T) {
	t.Parallel()
	for name, within := range map[string]bool{"between files": false, "within a file": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSweepWorld(t, "", 0, nil)
			s := w.services[0]
			s.WindowTick = 50 * time.Millisecond
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			const many = 30
			var (
				going, gone sync.WaitGroup
				until       = make(chan struct{})
				ids         [many]string
				ended       [many]error
			)
			content := bytes.Repeat([]byte("x"), 100<<10)
			for i := range many {
				ids[i] = w.open(t, registry.PackageRef{Producer: "p", Name: "n", Version: fmt.Sprint(i)}, nil)
				going.Add(1)
				number := 0
				gone.Go(func() {
					_, ended[i] = s.PutFiles(ctx, ids[i], func() (registry.NamedContent, error) {
						file := registry.NamedContent{Path: fmt.Sprint("f", number), Content: registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content))}}
						number++
						switch {
						case number == 2 && within:
							// Each hangs when it has a window, so the first ones must have lost theirs.
							file.Reader = &hanging{first: bytes.NewReader(content[:50<<10]), rest: bytes.NewReader(content[50<<10:]), hangs: going.Done, until: until}
						case number == 2:
							going.Done()
							<-until
						case number == 4:
							return file, io.EOF
						}
						return file, nil
					})
				})
			}
			going.Wait()
			id := w.open(t, registry.PackageRef{Producer: "p", Name: "n", Version: "quick"}, nil)
			sent := false
			began := time.Now()
			bundled, err := s.PutFiles(ctx, id, func() (registry.NamedContent, error) {
				if sent {
					return registry.NamedContent{}, io.EOF
				}
				sent = true
				return registry.NamedContent{Path: "f", Content: registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content))}}, nil
			})
			if took := time.Since(began); err != nil || bundled.Files != 1 || took > 10*time.Second {
				t.Errorf("beside bundles that hang: %+v, %v, after %v", bundled, err, took)
			}
			close(until)
			gone.Wait()
			lost := 0
			for i := range many {
				switch {
				case ended[i] == nil:
				case within && errors.Is(ended[i], registry.ErrStalled):
					lost++
				default:
					t.Errorf("bundle %d: %v", i, ended[i])
				}
				if progress, err := s.FileProgress(ctx, ids[i], "f0"); err != nil || !progress.Complete {
					t.Errorf("the first file of bundle %d: %+v, %v", i, progress, err)
				}
			}
			if within && lost == 0 {
				t.Error("no bundle lost its window")
			}
		})
	}
}
