package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// BenchmarkWaitsBesideTheLargest measures how long a small publish, and a small
// read, wait while packages of 100,000 files are declared and published.
func BenchmarkWaitsBesideTheLargest(b *testing.B) {
	const large, goal = 3, 2 * time.Second
	for range b.N {
		manager, _, _ := localRegistry(b)
		ctx, stop := context.WithCancel(b.Context())
		c := manager.Client(b)
		var publishes, reads []time.Duration
		ended := make(chan error, 1)
		go func() {
			var err error
			for i := 0; err == nil && ctx.Err() == nil; i++ {
				ref := registry.PackageRef{Producer: "small", Name: "n", Version: fmt.Sprint(i)}
				began := time.Now()
				if err = publishOne(ctx, c, ref); err == nil {
					publishes = append(publishes, time.Since(began))
				}
				began = time.Now()
				if _, readErr := c.GetPackage(ctx, ref); readErr == nil {
					reads = append(reads, time.Since(began))
				} else {
					err = errors.Join(err, readErr)
				}
			}
			ended <- err
		}()
		for i := range large {
			if err := publishLargest(ctx, manager.Client(b), fmt.Sprint(i)); err != nil {
				b.Fatal(err)
			}
		}
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			b.Fatal(err)
		}
		for what, waits := range map[string][]time.Duration{"publish": publishes, "read": reads} {
			slices.Sort(waits)
			p99, most := waits[len(waits)*99/100], waits[len(waits)-1]
			record(figure{fmt.Sprintf("a small %s beside packages of 100,000 files: p99 of %d", what, len(waits)), p99.Round(time.Millisecond).String(), "<= " + goal.String(), p99 > goal})
			told("  the longest", most.Round(time.Millisecond).String())
		}
	}
}

func publishOne(ctx context.Context, c *client.Client, ref registry.PackageRef) error {
	session, err := c.OpenUpload(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "none"})
	if err != nil {
		return err
	}
	if _, err = c.PutFile(ctx, session.ID, "f", registry.Content{Reader: strings.NewReader("1"), Size: 1}); err != nil {
		return err
	}
	_, err = c.Publish(ctx, session.ID, nil)
	return err
}

func publishLargest(ctx context.Context, c *client.Client, version string) error {
	ref := registry.PackageRef{Producer: "large", Name: "n", Version: version}
	session, err := c.OpenUpload(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "none"})
	if err != nil {
		return err
	}
	size := int64(1)
	files := make([]registry.FileDeclaration, manifest.MaxFiles)
	for i := range files {
		files[i] = registry.FileDeclaration{Path: fmt.Sprintf("a/folder/of/the/tree/%06d", i), Size: &size, Digests: digest.Of([]byte("1"))}
	}
	if _, err := c.DeclareFiles(ctx, session.ID, files); err != nil {
		return err
	}
	if _, err := c.PutFile(ctx, session.ID, files[0].Path, registry.Content{Reader: strings.NewReader("1"), Size: 1}); err != nil {
		return err
	}
	_, err = c.Publish(ctx, session.ID, nil)
	return err
}
