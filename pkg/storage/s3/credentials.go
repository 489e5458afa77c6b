package s3

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkconfig "github.com/aws/aws-sdk-go-v2/config"
)

// errNoCredentials: neither the config nor, where allowed, the environment has
// credentials.
var errNoCredentials = errors.New("no credentials could be obtained")

// credentials returns those of the config or, where allowed, the ambient ones,
// which are looked up at the first request.
func credentials(config Config) aws.CredentialsProvider {
	if config.AccessKey.IsZero() && config.AllowAmbientCredentials {
		return aws.NewCredentialsCache(ambient{sync.OnceValues(func() (aws.Config, error) {
			return sdkconfig.LoadDefaultConfig(context.Background(), sdkconfig.WithRegion(config.withDefaults().Region))
		})})
	}
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		if config.AccessKey.IsZero() {
			return aws.Credentials{}, errNoCredentials
		}
		return aws.Credentials{
			AccessKeyID:     config.AccessKey.Reveal(),
			SecretAccessKey: config.SecretKey.Reveal(),
			SessionToken:    config.SessionToken.Reveal(),
		}, nil
	})
}

// ambient uses the SDK's credential chain. It takes only credentials from it: no
// endpoint, no region.
type ambient struct {
	load func() (aws.Config, error)
}

func (a ambient) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := a.load()
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%w: %w", errNoCredentials, err)
	}
	got, err := found.Credentials.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%w: %w", errNoCredentials, err)
	}
	return got, nil
}
