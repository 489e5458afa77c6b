// Program putmany puts many objects at once through a driver, as the load.Putting
// on its standard input says, and prints the most memory in bytes that it ever had.
// It has nothing else in it, so that this is what the driver takes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/bench/load"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var p load.Putting
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return err
	}
	// Tighter than the manager's, which has more to do than to put; without a
	// limit the collector lets as much garbage pile up as there are buffers. The rest is for what the kernel counts
	// beside Go's memory: the program itself, some 20 MiB.
	debug.SetMemoryLimit(p.Pool + 40<<20)
	config := backends.Config{Local: &local.Config{Path: p.Folder}}
	if at := p.Server; at != nil {
		config = backends.Config{S3: &s3.Config{
			EndpointURL: at.Endpoint, Region: at.Region, Bucket: at.Bucket, KeyPrefix: at.Prefix,
			AccessKey: storage.NewSecret(at.AccessKey), SecretKey: storage.NewSecret(at.SecretKey),
			RequestTimeout: 10 * time.Minute, // while it copies 32 objects at once the server says nothing
		}}
	}
	backend, err := backends.Open(context.Background(), config, buffer.New(p.Pool, buffer.DefaultEach))
	if err != nil {
		return err
	}
	sources := make([]storage.Source, p.Puts)
	for i := range sources {
		sources[i] = storage.Source{Reader: load.Compressible(i, p.Size), Size: storage.UnknownSize}
		if p.Known > 0 && i%p.Known == 0 {
			// One after the other: what hashing takes is not the driver's.
			hashed := digest.NewReader(load.Compressible(i, p.Size))
			if _, err := io.Copy(io.Discard, hashed); err != nil {
				return err
			}
			sources[i].Size, sources[i].Want = p.Size, hashed.Sum()
		}
	}
	puts, ctx := errgroup.WithContext(context.Background())
	for _, src := range sources {
		puts.Go(func() error {
			_, err := backend.Put(ctx, src)
			return err
		})
	}
	if err := puts.Wait(); err != nil {
		return err
	}
	peak, err := load.PeakMemory(os.Getpid())
	if err != nil {
		return err
	}
	fmt.Println(peak)
	return nil
}
