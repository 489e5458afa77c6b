package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/servers"
)

// zeros keeps the cost of the source out of the measurement.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// BenchmarkLarge compares one large Put with the SDK's own uploader, which
// computes no digest of the whole.
func BenchmarkLarge(b *testing.B) {
	const size = 256 << 20
	server := servers.S3(b)
	want := storageDigestOf(size)
	for _, checksums := range []s3.Checksums{s3.ChecksumsWhenSupported, s3.ChecksumsWhenRequired} {
		b.Run(string(checksums), func(b *testing.B) {
			config := configFor(server)
			config.MultipartThresholdBytes, config.MultipartChunkBytes, config.Checksums = 0, 0, checksums
			backend, err := s3.New(config, buffer.Default())
			if err != nil {
				b.Fatal(err)
			}
			defer backend.Close()
			b.SetBytes(size)
			for b.Loop() {
				if _, err := backend.Put(b.Context(), storage.Source{Reader: io.LimitReader(zeros{}, size), Size: size, Want: want}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("transfermanager", func(b *testing.B) {
		manager := transfermanager.New(client(server))
		b.SetBytes(size)
		for b.Loop() {
			_, err := manager.UploadObject(b.Context(), &transfermanager.UploadObjectInput{
				Bucket: &server.Bucket, Key: aws.String("large"), Body: io.LimitReader(zeros{}, size),
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// bareKey has as many new folders as a blob's key: on servers that store objects as
// files, folders cost as much as the objects.
func bareKey(i uint64) string {
	return "some/prefix/" + storage.Key(storageDigest(fmt.Append(nil, "bare", i)))
}

// BenchmarkSmall compares many small Puts with bare PutObjects.
func BenchmarkSmall(b *testing.B) {
	const size, workers = 8 << 10, 8
	server := servers.S3(b)
	backend, err := s3.New(configFor(server), buffer.Default())
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	bare := client(server)
	for name, put := range map[string]func(data []byte, i uint64) error{
		"Put": func(data []byte, _ uint64) error {
			_, err := backend.Put(b.Context(), source(data))
			return err
		},
		"PutObject": func(data []byte, i uint64) error {
			_, err := bare.PutObject(b.Context(), &sdk.PutObjectInput{
				Bucket: &server.Bucket, Key: aws.String(bareKey(i)), Body: bytes.NewReader(data),
			})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			var next atomic.Uint64
			b.SetParallelism(workers / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := next.Add(1)
					if err := put(storagetest.Bytes(i, size), i); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
