package powercut

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/test/size"
)

// pushers publish packagesEach packages each, at the same time.
const pushers = 8

var packagesEach = size.Of(16, 50)

const (
	// sharedContents are files that several packages have.
	sharedContents = 12
	// smallest and largest content of most files, in bytes, and that of a few, which is
	// written in pieces.
	smallest, largest, huge = 10, 12_000, 400_000
)

// parcel is a package to publish, and what was answered.
type parcel struct {
	registry.Publication
	files []registry.NamedContent // without readers
	bytes map[string][]byte       // by path
	way   way
}

// way publishes a package.
type way func(context.Context, *client.Client, *parcel) (registry.Publication, error)

var ways = []way{atOnce, bySession, byDeclaring, byBundle}

// newParcels returns what each pusher publishes, by every way there is.
func newParcels(seed uint64) [][]*parcel {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // not for secrets
	shared := make([][]byte, sharedContents)
	for i := range shared {
		shared[i] = someBytes(random, smallest+random.IntN(largest))
	}
	all := make([][]*parcel, pushers)
	for pusher := range all {
		which := pusher % len(ways)
		for n := range packagesEach {
			length := smallest + random.IntN(largest)
			if which > 0 && random.IntN(10) == 0 {
				length = huge
			}
			p := &parcel{way: ways[which], bytes: map[string][]byte{"own": someBytes(random, length)}}
			// Two producers: what one has, the other has to send again.
			p.PackageRef = registry.PackageRef{Producer: fmt.Sprint("producer-", pusher/len(ways)), Name: fmt.Sprint("package-", pusher), Version: fmt.Sprint(n)}
			for range random.IntN(4) {
				which := random.IntN(sharedContents)
				p.bytes[fmt.Sprintf("shared/%d", which)] = shared[which]
			}
			for path, content := range p.bytes {
				p.files = append(p.files, registry.NamedContent{Path: path, Content: registry.Content{Size: int64(len(content)), Digests: digest.Of(content)}})
			}
			all[pusher] = append(all[pusher], p)
		}
	}
	return all
}

// push has each pusher publish its parcels until ctx ends. answered is called after each,
// by one goroutine at a time. It returns what was not answered.
func push(ctx context.Context, t *testing.T, c *client.Client, all [][]*parcel, answered func(*parcel)) (left [][]*parcel) {
	t.Helper()
	var mu sync.Mutex
	var pushing sync.WaitGroup
	for _, parcels := range all {
		pushing.Go(func() {
			for len(parcels) > 0 {
				p := parcels[0]
				publication, err := p.way(ctx, c, p)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("pushing %s: %v", p.PackageRef, err)
					}
					break
				}
				parcels = parcels[1:]
				mu.Lock()
				p.Publication = publication
				answered(p)
				mu.Unlock()
			}
			mu.Lock()
			defer mu.Unlock()
			left = append(left, parcels)
		})
	}
	pushing.Wait()
	return left
}

func someBytes(random *rand.Rand, length int) []byte {
	content := make([]byte, length)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	return content
}

// each returns the package's files one after the other, with readers.
func (p *parcel) each() func() (registry.NamedContent, error) {
	n := -1
	return func() (registry.NamedContent, error) {
		if n++; n == len(p.files) {
			return registry.NamedContent{}, io.EOF
		}
		file := p.files[n]
		file.Reader = bytes.NewReader(p.bytes[file.Path])
		return file, nil
	}
}

func (p *parcel) terms() registry.OpenUpload {
	return registry.OpenUpload{PackageRef: p.PackageRef, RetentionClass: "none"}
}

// atOnce publishes by one request.
func atOnce(ctx context.Context, c *client.Client, p *parcel) (registry.Publication, error) {
	return c.PublishFiles(ctx, p.terms(), registry.SentManifest{}, p.each())
}

// bySession opens a session, sends each file and publishes.
func bySession(ctx context.Context, c *client.Client, p *parcel) (registry.Publication, error) {
	upload, err := c.OpenUpload(ctx, p.terms())
	if err != nil {
		return registry.Publication{}, err
	}
	return putMissing(ctx, c, upload.ID, p, func(string) bool { return true })
}

// byDeclaring sends only what the registry asks for.
func byDeclaring(ctx context.Context, c *client.Client, p *parcel) (registry.Publication, error) {
	upload, err := c.OpenUpload(ctx, p.terms())
	if err != nil {
		return registry.Publication{}, err
	}
	var declared []registry.FileDeclaration
	for _, file := range p.files {
		declared = append(declared, registry.FileDeclaration{Path: file.Path, Size: &file.Size, Digests: file.Digests})
	}
	answer, err := c.DeclareFiles(ctx, upload.ID, declared)
	if err != nil {
		return registry.Publication{}, err
	}
	missing := map[string]bool{}
	for _, path := range answer.Send {
		missing[path] = true
	}
	return putMissing(ctx, c, upload.ID, p, func(path string) bool { return missing[path] })
}

func putMissing(ctx context.Context, c *client.Client, id string, p *parcel, missing func(path string) bool) (registry.Publication, error) {
	for next := p.each(); ; {
		file, err := next()
		if err == io.EOF {
			return c.Publish(ctx, id, nil)
		}
		if err == nil && missing(file.Path) {
			_, err = c.PutFile(ctx, id, file.Path, file.Content)
		}
		if err != nil {
			return registry.Publication{}, err
		}
	}
}

// byBundle sends all files of a session by one request.
func byBundle(ctx context.Context, c *client.Client, p *parcel) (registry.Publication, error) {
	upload, err := c.OpenUpload(ctx, p.terms())
	if err != nil {
		return registry.Publication{}, err
	}
	if _, err := c.PutFiles(ctx, upload.ID, p.each()); err != nil {
		return registry.Publication{}, err
	}
	return c.Publish(ctx, upload.ID, nil)
}
