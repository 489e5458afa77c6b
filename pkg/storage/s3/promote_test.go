package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestPromoteInParts lowers the size above which a copy is made in parts; the
// service's limit is 5 GiB.
func TestPromoteInParts(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	config := Config{
		EndpointURL: server.Endpoint, Bucket: server.Bucket,
		AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey),
		MultipartThresholdBytes: MinMultipartThresholdBytes, MultipartChunkBytes: MinMultipartChunkBytes,
	}
	for _, checksums := range []Checksums{ChecksumsWhenSupported, ChecksumsWhenRequired} {
		config.Checksums = checksums
		b, err := New(config, buffer.New(16<<20, 8<<20))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		b.maxCopy, b.copyPart = 5<<20, 5<<20
		b.config.KeyPrefix = "a prefix/é+%"            // not allowed in a declaration, but still escaped
		data := bytes.Repeat([]byte(checksums), 3<<20) // three parts, the last a short one
		info, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(data), Size: storage.UnknownSize})
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := b.Get(t.Context(), info.Digests.SHA256, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(got, data) || info.Digests != digest.Of(data) {
			t.Errorf("%s: %d bytes came back of %d: %v", checksums, len(got), len(data), err)
		}
	}
}

// TestRewrite: the bytes arrive without a copy by the server, and nothing stays in staging.
func TestRewrite(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := servers.S3On(t, kind, false)
			proxy := faultproxy.HTTP(t, server.Endpoint)
			b, err := New(Config{
				EndpointURL: proxy.URL, Bucket: server.Bucket, Promote: PromoteRewrite,
				AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey),
				MultipartThresholdBytes: MinMultipartThresholdBytes, MultipartChunkBytes: MinMultipartChunkBytes,
			}, buffer.New(16<<20, 8<<20))
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			data := bytes.Repeat([]byte("rewrite "), 1<<20)
			info, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(data), Size: storage.UnknownSize})
			if err != nil || info.Digests != digest.Of(data) {
				t.Fatalf("%+v, %v", info, err)
			}
			r, _, err := b.Get(t.Context(), info.Digests.SHA256, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes came back of %d: %v", len(got), len(data), err)
			}
			for _, exchange := range proxy.Exchanges() {
				if exchange.Kind == faultproxy.CopyObject || exchange.Kind == faultproxy.UploadPartCopy {
					t.Errorf("the server was asked for a %s", exchange.Kind)
				}
			}
			for orphan, err := range b.Orphans(t.Context()) {
				t.Errorf("%+v, %v", orphan, err)
			}
		})
	}
}

// TestPromoteOfASilentServer: a server that sends nothing while it copies gets
// smaller pieces to copy.
func TestPromoteOfASilentServer(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	proxy := faultproxy.HTTP(t, server.Endpoint)
	proxy.Arm(faultproxy.Fault{Kind: faultproxy.CopyObject, Always: true, Where: faultproxy.BeforeRequest, Action: faultproxy.Stall})
	b, err := New(Config{
		EndpointURL: proxy.URL, Bucket: server.Bucket, RequestTimeout: time.Second,
		AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey),
		MultipartThresholdBytes: MinMultipartThresholdBytes, MultipartChunkBytes: MinMultipartChunkBytes,
	}, buffer.New(16<<20, 8<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.copyPart = 5 << 20
	data := bytes.Repeat([]byte("silent"), 2<<20)
	info, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(data), Size: storage.UnknownSize})
	if err != nil {
		t.Fatal(err)
	}
	if proxy.Struck() == 0 || info.Digests != digest.Of(data) {
		t.Errorf("struck %d times, got %s", proxy.Struck(), info.Digests)
	}
}

// TestLostAnswerToARepair: an object that existed before does not prove that a Put
// whose answer was lost succeeded: it may be what the Put was meant to repair.
func TestLostAnswerToARepair(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	proxy := faultproxy.HTTP(t, server.Endpoint)
	b, err := New(Config{
		EndpointURL: proxy.URL, Bucket: server.Bucket,
		AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey),
	}, buffer.New(16<<20, 8<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	data := []byte("what it should be")
	name := digest.Of(data).SHA256
	if _, err := server.Client().PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &server.Bucket, Key: aws.String(storage.Key(name)), Body: strings.NewReader("what it should bE"),
	}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second) // the server reports whole seconds
	proxy.Arm(faultproxy.Fault{Kind: faultproxy.PutObject, Where: faultproxy.BeforeRequest, Action: faultproxy.Reset})
	if _, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(data), Size: int64(len(data)), Want: digest.Of(data)}); err != nil {
		t.Fatal(err)
	}
	r, _, err := b.Get(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) || proxy.Struck() != 1 {
		t.Errorf("struck %d times; got %q, %v", proxy.Struck(), got, err)
	}
}

// TestLargerParts: a blob of known size gets parts large enough that there are not too
// many, as long as they fit the memory.
func TestLargerParts(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	b, err := New(Config{
		EndpointURL: server.Endpoint, Bucket: server.Bucket,
		AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey),
		MultipartThresholdBytes: MinMultipartThresholdBytes, MultipartChunkBytes: MinMultipartChunkBytes,
	}, buffer.New(24<<20, 2<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, test := range []struct{ size, want int64 }{
		{storage.UnknownSize, 5 << 20}, {1, 5 << 20}, {50_000 << 20, 5 << 20},
		{50_000<<20 + 1, 6 << 20}, {60_000<<20 - 1, 6 << 20}, {60_000 << 20, 7 << 20},
		{240_000<<20 - 1, 24 << 20}, {240_000 << 20, 0}, {math.MaxInt64, 0},
	} {
		got, err := b.partSize(test.size)
		if got != test.want || errors.Is(err, storage.ErrTooLarge) != (test.want == 0) {
			t.Errorf("%d: %d, %v", test.size, got, err)
		}
		if got > 0 && test.size > got*MaxParts {
			t.Errorf("%d: %d is too little", test.size, got)
		}
	}
	b.maxParts = 2
	data := bytes.Repeat([]byte("larger"), 19<<20/6) // two parts of 10 MiB
	info, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(data), Size: int64(len(data)), Want: digest.Of(data)})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := b.Get(t.Context(), info.Digests.SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back of %d: %v", len(got), len(data), err)
	}
	_, err = b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(data), Size: storage.UnknownSize})
	if !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("more than two parts of unknown size: %v", err)
	}
}

// TestRevokedBody: a transport that keeps reading after the request has ended must
// not see buffers that belong to another upload by then.
func TestRevokedBody(t *testing.T) {
	t.Parallel()
	content := newBody([][]byte{[]byte("01"), []byte("234"), nil, []byte("5")})
	if got, err := io.ReadAll(content); string(got) != "012345" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, seek := range []struct {
		offset int64
		whence int
		want   string
	}{{0, io.SeekStart, "012345"}, {-2, io.SeekEnd, "45"}, {3, io.SeekStart, "345"}, {-1, io.SeekCurrent, "5"}} {
		if _, err := content.Seek(seek.offset, seek.whence); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(content); string(got) != seek.want || err != nil {
			t.Errorf("%+v: %q, %v", seek, got, err)
		}
	}
	if _, err := content.Seek(-1, io.SeekStart); err == nil {
		t.Error("sought before the start")
	}
	content.Seek(0, io.SeekStart)
	content.revoke()
	if n, err := content.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errRevoked) {
		t.Errorf("%d, %v", n, err)
	}
}

// TestAmbientCredentials: they are used only if the config allows them. The test does
// not run in parallel because the environment is global.
func TestAmbientCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "ambient-access")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "ambient-secret")
	own := Config{AccessKey: storage.NewSecret("a"), SecretKey: storage.NewSecret("s"), AllowAmbientCredentials: true}
	got, err := credentials(own).Retrieve(context.Background())
	if err != nil || got.AccessKeyID != "a" || got.SecretAccessKey != "s" {
		t.Errorf("own: %v, %v", got.AccessKeyID, err)
	}
	if _, err := credentials(Config{}).Retrieve(context.Background()); !errors.Is(err, errNoCredentials) {
		t.Errorf("not allowed: %v", err)
	}
	got, err = credentials(Config{AllowAmbientCredentials: true}).Retrieve(context.Background())
	if err != nil || got.AccessKeyID != "ambient-access" {
		t.Errorf("allowed: %v, %v", got.AccessKeyID, err)
	}
}
