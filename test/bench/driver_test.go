package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/servers"
)

// driverParts is how many parts of one upload the driver sends at once; the
// transfer manager gets as many.
const driverParts = 4

// driverPrefix is before the keys of what the driver stores.
const driverPrefix = "ours"

// driverConfig is that of a bucket below a prefix, with the driver's defaults otherwise.
func driverConfig(server servers.S3Server) s3.Config {
	return s3.Config{
		EndpointURL: server.Endpoint, Region: server.Region, Bucket: server.Bucket, KeyPrefix: driverPrefix,
		AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey),
	}
}

// bare is the SDK's client with its defaults.
func bare(server servers.S3Server) *sdk.Client {
	return sdk.New(sdk.Options{
		BaseEndpoint: &server.Endpoint, Region: server.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
}

// onEachServer runs a benchmark of the driver, alone in its process, on each kind of server.
func onEachServer(b *testing.B, run func(b *testing.B, server servers.S3Server, backend *s3.Backend)) {
	for range b.N {
		for _, kind := range servers.S3Kinds {
			b.Run(string(kind), func(b *testing.B) {
				server := servers.S3On(b, kind, false)
				backend, err := s3.New(driverConfig(server), buffer.Default())
				if err != nil {
					b.Fatal(err)
				}
				defer backend.Close() //nolint:errcheck // gives connections back
				defer empty(b, server)
				for b.Loop() {
					run(b, server, backend)
				}
			})
		}
	}
}

// BenchmarkDriverPutLarge puts 1 GiB from memory against the SDK's transfer
// manager with parts of the same size and as many at once: with the digests
// known (straight to the key) and unknown (staged, verified, copied by the server).
func BenchmarkDriverPutLarge(b *testing.B) {
	const rounds = 4
	size := sizeOr(gibibyte)
	want, _, err := digest.Copy(io.Discard, endless(size))
	if err != nil {
		b.Fatal(err)
	}
	onEachServer(b, func(b *testing.B, server servers.S3Server, backend *s3.Backend) {
		uploader := transfermanager.New(bare(server), func(o *transfermanager.Options) {
			o.PartSizeBytes, o.Concurrency = s3.DefaultMultipartChunkBytes, driverParts
		})
		upload := func(int) time.Duration {
			defer empty(b, server)
			began := time.Now()
			_, err := uploader.UploadObject(b.Context(), &transfermanager.UploadObjectInput{
				Bucket: &server.Bucket, Key: aws.String("large"), Body: endless(size),
			})
			if err != nil {
				b.Fatal(err)
			}
			return time.Since(began)
		}
		upload(0) // a server that keeps objects in memory (RGW's here) grows with the first
		for _, way := range []struct {
			name string
			src  storage.Source
			goal float64
		}{
			{"known", storage.Source{Size: size, Want: want}, 0.95},
			{"unknown", storage.Source{Size: storage.UnknownSize}, 0.4},
		} {
			c := inTurns(b, rounds, func(int) time.Duration {
				defer empty(b, server)
				src := way.src
				src.Reader = endless(size)
				began := time.Now()
				info, err := backend.Put(b.Context(), src)
				if err != nil || info.Digests != want {
					b.Fatalf("put %s: %v", info.Digests, err)
				}
				return time.Since(began)
			}, upload)
			atLeast(b, fmt.Sprintf("driver puts %d MiB to %s, digest %s / transfer manager", size/mebibyte, server.Kind, way.name), c.ratio, way.goal)
			told("  driver; transfer manager", rate(size, c.ours)+"; "+rate(size, c.bare))
		}
	})
}

// BenchmarkDriverGetLarge reads 1 GiB against the SDK's GetObject, both copied to nothing.
func BenchmarkDriverGetLarge(b *testing.B) {
	const rounds = 5
	size := sizeOr(gibibyte)
	onEachServer(b, func(b *testing.B, server servers.S3Server, backend *s3.Backend) {
		info, err := backend.Put(b.Context(), storage.Source{Reader: endless(size), Size: storage.UnknownSize})
		if err != nil {
			b.Fatal(err)
		}
		client := bare(server)
		through := func(read func() (io.ReadCloser, error)) func(int) time.Duration {
			return func(int) time.Duration {
				began := time.Now()
				body, err := read()
				if err != nil {
					b.Fatal(err)
				}
				defer body.Close() //nolint:errcheck // its bytes are counted
				if n, err := io.Copy(io.Discard, body); n != size || err != nil {
					b.Fatalf("read %d of %d bytes: %v", n, size, err)
				}
				return time.Since(began)
			}
		}
		ours := through(func() (io.ReadCloser, error) {
			body, _, err := backend.Get(b.Context(), info.Digests.SHA256, nil)
			return body, err
		})
		theirs := through(func() (io.ReadCloser, error) {
			answer, err := client.GetObject(b.Context(), &sdk.GetObjectInput{Bucket: &server.Bucket, Key: aws.String(driverPrefix + "/" + storage.Key(info.Digests.SHA256))})
			if err != nil {
				return nil, err
			}
			return answer.Body, nil
		})
		ours(0)
		theirs(0) // both connections are open, the object is in the page cache
		c := inTurns(b, rounds, ours, theirs)
		atLeast(b, fmt.Sprintf("driver gets %d MiB from %s / GetObject", size/mebibyte, server.Kind), c.ratio, 0.95)
		told("  driver; GetObject", rate(size, c.ours)+"; "+rate(size, c.bare))
	})
}

// BenchmarkDriverSmall puts and gets blobs of 4 KiB, 16 at a time, against the
// SDK's calls with its defaults.
func BenchmarkDriverSmall(b *testing.B) {
	const rounds, size, atOnce, calls = 7, 4 << 10, 16, 1000
	onEachServer(b, func(b *testing.B, server servers.S3Server, backend *s3.Backend) {
		client := bare(server)
		// Each round writes content of its own. Both sides' keys have as many folders:
		// on servers that keep objects as files they cost as much as the objects.
		content := func(side byte, round, i int) []byte {
			return bytes.Repeat(fmt.Appendf(nil, "%c%07x%08x", side, round, i), size/16)
		}
		all := func(side byte, call func(ctx context.Context, name digest.Digest, data []byte) error) func(int) time.Duration {
			return func(round int) time.Duration {
				var names [calls]digest.Digest
				var contents [calls][]byte
				for i := range calls {
					contents[i] = content(side, round, i)
					names[i] = digest.Of(contents[i]).SHA256
				}
				group, ctx := errgroup.WithContext(b.Context())
				group.SetLimit(atOnce)
				began := time.Now()
				for i := range calls {
					group.Go(func() error { return call(ctx, names[i], contents[i]) })
				}
				if err := group.Wait(); err != nil {
					b.Fatal(err)
				}
				return time.Since(began)
			}
		}
		// One bucket, and a folder for each side: what one makes is no help to the other.
		bareKey := func(name digest.Digest) *string { return aws.String("bare/" + storage.Key(name)) }
		ourPut := all('o', func(ctx context.Context, _ digest.Digest, data []byte) error {
			_, err := backend.Put(ctx, storage.Source{Reader: bytes.NewReader(data), Size: size})
			return err
		})
		barePut := all('b', func(ctx context.Context, name digest.Digest, data []byte) error {
			_, err := client.PutObject(ctx, &sdk.PutObjectInput{Bucket: &server.Bucket, Key: bareKey(name), Body: bytes.NewReader(data)})
			return err
		})
		ourPut(rounds)
		barePut(rounds) // connections and most folders are there
		put := inTurns(b, rounds, ourPut, barePut)
		get := inTurns(b, rounds,
			all('o', func(ctx context.Context, name digest.Digest, data []byte) error {
				body, _, err := backend.Get(ctx, name, nil)
				if err != nil {
					return err
				}
				return drain(body, size)
			}),
			all('b', func(ctx context.Context, name digest.Digest, data []byte) error {
				answer, err := client.GetObject(ctx, &sdk.GetObjectInput{Bucket: &server.Bucket, Key: bareKey(name)})
				if err != nil {
					return err
				}
				return drain(answer.Body, size)
			}))
		for _, verb := range []struct {
			name, call string
			c          comparison
		}{{"puts", "PutObject", put}, {"gets", "GetObject", get}} {
			atLeast(b, fmt.Sprintf("driver %s 4 KiB, 16 at once, %s / %s", verb.name, server.Kind, verb.call), verb.c.ratio, 0.9)
			each := func(took time.Duration) string { return fmt.Sprintf("%.0f/s", calls/took.Seconds()) }
			told("  driver; "+verb.call, each(verb.c.ours)+"; "+each(verb.c.bare))
		}
	})
}

func drain(body io.ReadCloser, size int64) error {
	n, err := io.Copy(io.Discard, body)
	if err == nil && n != size {
		err = fmt.Errorf("read %d of %d bytes", n, size)
	}
	if failed := body.Close(); err == nil {
		err = failed
	}
	return err
}
