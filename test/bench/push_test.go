package bench

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

// concurrency is the CLI's default, and that of the bare loop.
const concurrency = 8

// BenchmarkPushTreeToS3 pushes the standard library's sources, about 10,000
// files, against a loop of PutObject over the same files to the same server.
func BenchmarkPushTreeToS3(b *testing.B) {
	const rounds = 5
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	tree, err := filepath.EvalSymlinks(filepath.Join(strings.TrimSpace(string(root)), "src"))
	if err != nil {
		b.Fatal(err)
	}
	names, size := filesOf(b, tree)
	secrets := programs.IncludeSecrets(b, tree)
	for range b.N {
		c := inTurns(b, rounds,
			func(int) time.Duration {
				server := servers.S3(b)
				// A new registry each time: it knows none of the files.
				manager, cli := s3Registry(b, server)
				defer manager.Kill()
				began := time.Now()
				pushWith(b, cli, tree, "1", secrets...)
				return time.Since(began)
			},
			func(int) time.Duration {
				server := servers.S3(b)
				client := server.Client()
				began := time.Now()
				putAll(b, client, server.Bucket, tree, names)
				return time.Since(began)
			})
		atLeast(b, fmt.Sprintf("push %d files, %d MB, to s3 / PutObject loop", len(names), size/1e6), c.ratio, 0.7)
		told("  push; PutObject loop", fmt.Sprintf("%.2f s; %.2f s", c.ours.Seconds(), c.bare.Seconds()))
	}
}

func filesOf(b *testing.B, root string) (names []string, size int64) {
	b.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		names, size = append(names, relative), size+info.Size()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return names, size
}

// putAll is what one would write without a registry.
func putAll(b *testing.B, client *s3.Client, bucket, root string, names []string) {
	b.Helper()
	group, ctx := errgroup.WithContext(context.Background())
	group.SetLimit(concurrency)
	for _, name := range names {
		group.Go(func() error {
			file, err := os.Open(filepath.Join(root, name))
			if err != nil {
				return err
			}
			defer file.Close() //nolint:errcheck // opened for reading only
			_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String(filepath.ToSlash(name)), Body: file})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

// empty removes the objects of a bucket: what gigabytes leave would fill the disk.
func empty(b *testing.B, server servers.S3Server) {
	b.Helper()
	client := server.Client()
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &server.Bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		var all []types.ObjectIdentifier
		for _, object := range page.Contents {
			all = append(all, types.ObjectIdentifier{Key: object.Key})
		}
		if len(all) == 0 {
			return
		}
		if _, err := client.DeleteObjects(context.Background(), &s3.DeleteObjectsInput{Bucket: &server.Bucket, Delete: &types.Delete{Objects: all}}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPushLargeToS3 pushes one file of 1 GiB against the transfer manager with its defaults.
func BenchmarkPushLargeToS3(b *testing.B) {
	const rounds = 5
	file := randomFile(b, gibibyte)
	for range b.N {
		server := servers.S3(b)
		_, cli := s3Registry(b, server)
		bareServer := servers.S3(b)
		uploader := transfermanager.New(bareServer.Client())
		var hashing []time.Duration
		c := inTurns(b, rounds,
			func(round int) time.Duration {
				alter(b, file, round)
				began := time.Now()
				cli.Run(b, programs.ExitDone, "digest", file)
				hashing = append(hashing, time.Since(began))
				began = time.Now()
				push(b, cli, file, fmt.Sprint(round))
				took := time.Since(began)
				emptyBlobs(b, server)
				return took
			},
			func(round int) time.Duration {
				defer empty(b, bareServer)
				began := time.Now()
				upload(b, uploader, bareServer.Bucket, file, fmt.Sprint(round))
				return time.Since(began)
			})
		hash := median(hashing)
		// Push hashes first and then sends with the digest known; both are counted.
		atLeast(b, "push one file of 1 GiB to s3 / transfer manager", c.ratio, 0.8)
		told("  the same without the client's hashing", fmt.Sprintf("%.2f", c.bare.Seconds()/(c.ours-hash).Seconds()))
		told("  push; hashing in it; transfer manager", fmt.Sprintf("%.2f s; %.2f s; %.2f s", c.ours.Seconds(), hash.Seconds(), c.bare.Seconds()))
	}
}

func upload(b *testing.B, uploader *transfermanager.Client, bucket, name, key string) {
	b.Helper()
	file, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	_, err = uploader.UploadObject(context.Background(), &transfermanager.UploadObjectInput{Bucket: &bucket, Key: &key, Body: file})
	if err != nil {
		b.Fatal(err)
	}
}

// emptyBlobs removes what was stored behind a registry's back, but not its
// marker: the next round's content is another.
func emptyBlobs(b *testing.B, server servers.S3Server) {
	b.Helper()
	client := server.Client()
	list, err := client.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &server.Bucket, Prefix: aws.String("sha256/")})
	if err != nil {
		b.Fatal(err)
	}
	for _, object := range list.Contents {
		if _, err := client.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &server.Bucket, Key: object.Key}); err != nil {
			b.Fatal(err)
		}
	}
}
