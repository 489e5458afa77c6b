package s3

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/test/servers"
)

// skewed signs like a client whose clock is that much behind.
type skewed struct {
	*v4.Signer
	by time.Duration
}

func (s skewed) SignHTTP(ctx context.Context, keys aws.Credentials, r *http.Request, hash, service, region string, at time.Time, options ...func(*v4.SignerOptions)) error {
	return s.Signer.SignHTTP(ctx, keys, r, hash, service, region, at.Add(-s.by), options...)
}

// TestClockSkew: every kind of server reports a clock that is 20 minutes wrong; one
// that is 10 minutes wrong does no harm.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := servers.S3On(t, kind, false)
			for _, by := range []time.Duration{10 * time.Minute, 20 * time.Minute} {
				b, err := New(Config{
					EndpointURL: server.Endpoint, Region: server.Region, Bucket: server.Bucket,
					AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey),
				}, buffer.New(16<<20, 8<<20))
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				options := b.client.Options()
				options.HTTPSignerV4, options.AuthSchemes = skewed{v4.NewSigner(), by}, nil
				b.client = s3.New(options)
				switch err := b.Health(t.Context()); {
				case by < 15*time.Minute && err != nil:
					t.Errorf("%s: %v", by, err)
				case by > 15*time.Minute && (!errors.Is(err, storage.ErrDenied) || storage.ReasonOf(err) != storage.ReasonClockSkewed):
					t.Errorf("%s: %v (%s)", by, err, storage.ReasonOf(err))
				}
			}
		})
	}
}
