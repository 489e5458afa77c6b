package s3_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/servers"
	"github.com/coulomb/artifact-store/test/size"
)

// threshold is small, so that the suite's larger blobs are uploaded in several parts.
const threshold = 6 << 20

// placed remembers where a backend is.
type placed struct {
	*s3.Backend
	server servers.S3Server
	config s3.Config
	pool   *buffer.Pool
	within string // prefix of our objects in the bucket; "" is the whole bucket
}

// configFor returns a bucket's config with small parts.
func configFor(server servers.S3Server) s3.Config {
	return s3.Config{
		EndpointURL: server.Endpoint, Region: server.Region, Bucket: server.Bucket, KeyPrefix: "some/prefix",
		AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey), SessionToken: storage.NewSecret(server.Token), CABundle: server.CA,
		MultipartThresholdBytes: threshold, MultipartChunkBytes: s3.MinMultipartChunkBytes,
	}
}

func open(t *testing.T, server servers.S3Server, config s3.Config, pool *buffer.Pool) *placed {
	t.Helper()
	b, err := s3.New(config, pool)
	if err != nil {
		t.Fatal(err)
	}
	ours := pool
	t.Cleanup(func() {
		if held := ours.InUse() + ours.Small().InUse(); held != 0 {
			t.Errorf("%d buffers never came back", held)
		}
		ours = nil // this function outlives the test
	})
	return &placed{Backend: b, server: server, config: config, pool: pool}
}

// endpoint is a kind of server, over http or https.
type endpoint struct {
	kind   servers.S3Kind
	secure bool
}

// contractEndpoints are those that the suite runs on. The other kinds over http,
// where the driver sends what it sends to VersityGW, are in the long form:
// TestFaultsElsewhere stores in every way on them.
var contractEndpoints = append([]endpoint{
	{servers.VersityGW, false}, {servers.VersityGW, true}, {servers.MinIO, true}, {servers.RGW, true},
}, size.Of(nil, []endpoint{{servers.MinIO, false}, {servers.RGW, false}})...)

func TestContract(t *testing.T) {
	t.Parallel()
	for _, at := range contractEndpoints {
		t.Run(fmt.Sprintf("%s/%s", at.kind, map[bool]string{false: "http", true: "https"}[at.secure]), func(t *testing.T) {
			t.Parallel()
			// Over https a part takes several pooled buffers, over http one.
			each := int64(8 << 20)
			if at.secure {
				each = 2 << 20
			}
			if at.kind == servers.MinIO {
				contractOnMinIO(t, at.secure, each)
				return
			}
			contract(t, func(t *testing.T) servers.S3Server { return servers.S3On(t, at.kind, at.secure) }, each)
		})
	}
}

// contractOnMinIO has a server of its own, because keys cannot list unfinished uploads there.
func contractOnMinIO(t *testing.T, secure bool, each int64) {
	own := servers.OwnMinIO(t, secure)
	t.Cleanup(func() { // after the whole suite
		if left := own.Uploads(t); len(left) != 0 {
			t.Errorf("%d uploads were never finished: %q", len(left), left)
		}
	})
	contract(t, func(t *testing.T) servers.S3Server { return own.Bucket(t) }, each)
}

// contract runs the suite, each test in a bucket of its own.
func contract(t *testing.T, bucket func(t *testing.T) servers.S3Server, each int64) {
	contractIn(t, func(t *testing.T) *placed {
		server := bucket(t)
		return open(t, server, configFor(server), buffer.New(24<<20, each))
	})
}

func contractIn(t *testing.T, place func(t *testing.T) *placed) {
	storagetest.Run(t,
		func(t *testing.T) storage.Backend { return place(t) },
		storagetest.WithThreshold(threshold),
		storagetest.WithKeys(keys),
		storagetest.WithOrphans(leave),
		storagetest.WithSecond(func(t *testing.T, b storage.Backend) storage.Backend {
			first := b.(*placed)
			again := open(t, first.server, first.config, first.pool)
			again.within = first.within
			t.Cleanup(func() { again.Close() })
			return again
		}),
	)
}

// client talks to a test server without the driver.
func client(server servers.S3Server) *sdk.Client { return server.Client() }

// keys lists every object in the bucket, or below our prefix, and every unfinished
// upload.
func keys(t *testing.T, b storage.Backend) []string {
	t.Helper()
	server, prefix := b.(*placed).server, b.(*placed).config.KeyPrefix+"/"
	within := aws.String(b.(*placed).within)
	c := client(server)
	var found []string
	pages := sdk.NewListObjectsV2Paginator(c, &sdk.ListObjectsV2Input{Bucket: &server.Bucket, Prefix: within})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range page.Contents {
			key := aws.ToString(object.Key)
			if len(key) < len(prefix) || key[:len(prefix)] != prefix {
				t.Errorf("%s lies outside the prefix", key)
				continue
			}
			found = append(found, key[len(prefix):])
		}
	}
	uploads, err := c.ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: &server.Bucket, Prefix: within})
	if err != nil {
		t.Fatal(err)
	}
	for _, upload := range uploads.Uploads {
		found = append(found, "unfinished: "+aws.ToString(upload.Key))
	}
	return found
}
