// Package backends knows every storage driver: the union of their configs, and
// Open. It is the only list of drivers.
package backends

import (
	"context"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
)

// Drivers, as StorageBackends and the registry's answers name them.
const (
	DriverS3    = "s3"
	DriverLocal = "local"
)

// Config is exactly one driver's config.
type Config struct {
	S3    *s3.Config
	Local *local.Config
}

// Validate checks that one driver is chosen and its fields are sound. Errors
// name the field in camelCase, from the driver on: "s3.endpointURL: …".
func (c Config) Validate() error {
	switch {
	case c.S3 != nil && c.Local != nil:
		return errors.New("s3, local: exactly one must be set, both are")
	case c.S3 != nil:
		return under(DriverS3, c.S3.Validate())
	case c.Local != nil:
		return under(DriverLocal, c.Local.Validate())
	}
	return errors.New("s3, local: exactly one must be set, neither is")
}

func under(driver string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s.%w", driver, err)
}

// Driver returns the chosen driver's name, "" if there is none.
func (c Config) Driver() string {
	switch {
	case c.S3 != nil:
		return DriverS3
	case c.Local != nil:
		return DriverLocal
	}
	return ""
}

// Place says in words where the bytes are. It holds no secret.
func (c Config) Place() string {
	switch {
	case c.S3 != nil:
		return c.S3.Place()
	case c.Local != nil:
		return c.Local.Place()
	}
	return ""
}

// ForProbe returns the config of the same place below the probe prefix, where
// a health check may write and delete.
func (c Config) ForProbe() Config {
	switch {
	case c.S3 != nil:
		probe := c.S3.ForProbe()
		return Config{S3: &probe}
	case c.Local != nil:
		probe := c.Local.ForProbe()
		return Config{Local: &probe}
	}
	return Config{}
}

// Open returns the backend that the config describes. pool is the process's
// budget of buffers; nil takes one of default size for this backend alone.
//
// An s3 backend does no I/O here, so an endpoint that is down is found out by
// Health. A local one opens its folder: storage.ErrNoPlace if it is missing.
func Open(ctx context.Context, c Config, pool *buffer.Pool) (storage.Backend, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if pool == nil {
		pool = buffer.Default()
	}
	if c.S3 != nil {
		store, err := s3.New(*c.S3, pool)
		if err != nil {
			return nil, under(DriverS3, err)
		}
		return store, nil
	}
	return local.Open(ctx, *c.Local, pool)
}

// ForProbe returns the backend that c.ForProbe describes, where store is that
// of c. It goes by store's connections, if there are any, and is to be closed
// before store is; pool is its own.
func ForProbe(ctx context.Context, store storage.Backend, c Config, pool *buffer.Pool) (storage.Backend, error) {
	if bucket, is := store.(*s3.Backend); is {
		return bucket.ForProbe(pool), nil
	}
	return Open(ctx, c.ForProbe(), pool)
}
