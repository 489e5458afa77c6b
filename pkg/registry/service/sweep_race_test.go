package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/service"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
)

const (
	// Clients push while sweeps run until so much has happened, or raceTime is over.
	racePublished = 40
	raceRemoved   = 40
	raceTime      = 2 * time.Minute
	// racePushers push at the same time.
	racePushers = 8
	// raceContents are few, so that sessions and sweeps meet on the same blobs.
	raceContents = 24
)

// hesitant is a place where a sweep's decision and its delete are apart, and a
// Put's end and its answer: the moments in which others do the worst.
type hesitant struct{ storage.Backend }

func (h hesitant) Put(ctx context.Context, src storage.Source) (storage.Info, error) {
	info, err := h.Backend.Put(ctx, src)
	hesitate()
	return info, err
}

func (h hesitant) Delete(ctx context.Context, name digest.Digest) error {
	hesitate()
	return h.Backend.Delete(ctx, name)
}

func hesitate() {
	if rand.IntN(2) == 0 { //nolint:gosec // not for secrets
		<-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond) //nolint:gosec // likewise
	}
}

// TestSweepDuringPushes sweeps without pause what is older than a nanosecond,
// so that nothing but the claims protects, while clients push the same and
// other contents in every way there is.
func TestSweepDuringPushes(t *testing.T) {
	t.Parallel()
	for name, url := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSweepWorld(t, url(t), time.Nanosecond, func(b storage.Backend) storage.Backend { return hesitant{b} })
			if name == "postgresql" {
				w.another(t) // a second replica
			}
			sweepDuringPushes(t, w)
		})
	}
}

func sweepDuringPushes(t *testing.T, w *sweepWorld) {
	ctx, stop := context.WithTimeout(context.Background(), raceTime)
	defer stop()
	var (
		sweepers, pushers    sync.WaitGroup
		removed, sentTwice   atomic.Int64
		mu                   sync.Mutex
		published, abandoned int
		packages             = map[registry.PackageRef]map[string][]byte{}
	)
	for _, service := range w.services {
		sweepers.Go(func() {
			for ctx.Err() == nil {
				report, err := service.SweepBackend(context.Background(), "one", false, nil)
				if err != nil {
					t.Errorf("sweeping: %v", err)
					return
				}
				removed.Add(report.Kinds[0].Removed)
			}
		})
	}
	for i := range racePushers {
		pushers.Go(func() {
			p := &racePusher{t: t, service: w.services[i%len(w.services)], random: rand.New(rand.NewPCG(uint64(i), 1))} //nolint:gosec // not for secrets
			for n := 0; ctx.Err() == nil; n++ {
				ref := registry.PackageRef{Producer: "p", Name: fmt.Sprintf("n%d", i), Version: fmt.Sprint(n)}
				files := p.push(ref)
				mu.Lock()
				if files != nil {
					packages[ref] = files
					published++
				} else {
					abandoned++
				}
				if published >= racePublished && removed.Load() >= raceRemoved {
					stop()
				}
				mu.Unlock()
			}
			sentTwice.Add(p.sentTwice)
		})
	}
	pushers.Wait()
	sweepers.Wait()
	t.Logf("%d packages published, %d sessions abandoned, %d blobs swept, %d publishes told to send again", published, abandoned, removed.Load(), sentTwice.Load())
	if published < racePublished || removed.Load() < raceRemoved {
		t.Error("hardly anything happened: little was tested")
	}
	w.mustBeWhole(t, packages)
	w.sweepClean(t)
	w.mustBeWhole(t, packages)
}

// racePusher pushes packages of a few of the contents. For one goroutine.
type racePusher struct {
	t         *testing.T
	service   *service.Service
	random    *rand.Rand
	sentTwice int64
}

// push returns the files that it published, nil if it gave the session up.
func (p *racePusher) push(ref registry.PackageRef) map[string][]byte {
	ctx := context.Background()
	upload, err := p.service.OpenUpload(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "r"})
	if err != nil {
		p.t.Error(err)
		return nil
	}
	files := map[string][]byte{}
	for i := range 1 + p.random.IntN(4) {
		size := int64(10 + p.random.IntN(2000))
		content := storagetest.Bytes(uint64(p.random.IntN(raceContents)), 1000)
		if p.random.IntN(8) == 0 {
			content = storagetest.Bytes(p.random.Uint64(), size) // nobody else's
		}
		if p.random.IntN(20) == 0 {
			content = storagetest.Bytes(uint64(1000+p.random.IntN(2)), 300<<10) // more than a driver holds in memory
		}
		files[fmt.Sprintf("f%d", i)] = content
	}
	way := p.random.IntN(4)
	if way == 0 { // declared with digests before; otherwise the bytes tell
		p.declare(upload.ID, files)
	}
	giveUp := p.random.IntN(5) == 0
	for attempt := range 50 {
		for path, content := range files {
			if err := p.send(upload.ID, path, content, (way+attempt)%4); err != nil {
				p.t.Errorf("%s, %s: %v", ref, path, err)
				return nil
			}
		}
		if giveUp {
			if err := p.service.AbandonUpload(ctx, upload.ID); err != nil {
				p.t.Error(err)
			}
			return nil
		}
		_, err := p.service.Publish(ctx, upload.ID, nil)
		switch {
		case err == nil:
			return files
		case errors.Is(err, registry.ErrIncomplete), errors.Is(err, registry.ErrUnavailable), swept(err):
			p.sentTwice++
		default:
			p.t.Errorf("publishing %s: %v", ref, err)
			return nil
		}
	}
	p.t.Errorf("%s could not be published in 50 attempts", ref)
	return nil
}

func (p *racePusher) declare(id string, files map[string][]byte) {
	var declarations []registry.FileDeclaration
	for path, content := range files {
		size := int64(len(content))
		declarations = append(declarations, registry.FileDeclaration{Path: path, Size: &size, Digests: digest.Of(content)})
	}
	if _, err := p.service.DeclareFiles(context.Background(), id, declarations); err != nil {
		p.t.Error(err)
	}
}

// send sends a file in one of the ways there are, and again where it is told to.
func (p *racePusher) send(id, path string, content []byte, way int) error {
	var err error
	for range 50 {
		switch way {
		case 1: // in pieces that are joined
			err = p.sendPieces(id, path, content)
		case 2: // in a bundle
			sent := false
			_, err = p.service.PutFiles(context.Background(), id, func() (registry.NamedContent, error) {
				if sent {
					return registry.NamedContent{}, io.EOF
				}
				sent = true
				return registry.NamedContent{Path: path, Content: registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content))}}, nil
			})
		default:
			_, err = p.service.PutFile(context.Background(), id, path, registry.Content{Reader: bytes.NewReader(content), Size: storage.UnknownSize})
		}
		var offset *registry.OffsetError
		if err == nil {
			return nil
		}
		// With such an age what is staged is swept too, and what is lost is sent again.
		if !errors.As(err, &offset) && !errors.Is(err, registry.ErrConflict) && !swept(err) {
			return err
		}
	}
	return err
}

// swept: a staged file went away under its Put, which said so.
func swept(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrNoPlace) || errors.Is(err, storage.ErrSource)
}

func (p *racePusher) sendPieces(id, path string, content []byte) error {
	progress, err := p.service.FileProgress(context.Background(), id, path)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	if progress.Complete {
		return nil
	}
	at := progress.Offset
	for _, end := range []int64{max(at, int64(len(content))/2), int64(len(content))} {
		part := registry.Piece{Content: registry.Content{Reader: bytes.NewReader(content[at:end]), Size: end - at},
			Offset: at, Complete: end == int64(len(content)), Length: storage.UnknownSize}
		if _, err := p.service.AppendFile(context.Background(), id, path, part); err != nil {
			return err
		}
		at = end
	}
	return nil
}
