package s3

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkconfig "github.com/aws/aws-sdk-go-v2/config"
)

// errNoCredentials: neither the config has any, nor the surroundings, as far
// as those may be asked.
var errNoCredentials = errors.New("no credentials could be obtained")

// credentials gives those of the config, else, where that is allowed, those of
// where the process runs, looked for at the first request.
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

// ambient asks the SDK's usual places. It takes nothing from them but
// credentials: no endpoint, no region.
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
