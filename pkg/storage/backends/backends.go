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

// Driver names, as used in StorageBackends and in the registry's answers.
const (
	DriverS3    = "s3"
	DriverLocal = "local"
)

// Config is the config of exactly one driver.
type Config struct {
	S3    *s3.Config    `json:"s3,omitempty"`
	Local *local.Config `json:"local,omitempty"`
}

// Validate checks that exactly one driver is configured and its fields are valid.
// Errors name the field in camelCase, starting at the driver: "s3.endpointURL: …".
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

// Driver returns the configured driver's name, or "".
func (c Config) Driver() string {
	switch {
	case c.S3 != nil:
		return DriverS3
	case c.Local != nil:
		return DriverLocal
	}
	return ""
}

// Place describes where the bytes are. It contains no secret.
func (c Config) Place() string {
	switch {
	case c.S3 != nil:
		return c.S3.Place()
	case c.Local != nil:
		return c.Local.Place()
	}
	return ""
}

// ForProbe returns the config of the same place below the probe prefix, where a
// health check may write and delete.
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

// Open returns the backend that the config describes. pool is the process's buffer
// budget; with nil this backend gets one of default size for itself.
//
// An s3 backend does no I/O here: an unreachable endpoint shows in Health. A local
// one opens its folder: storage.ErrNoPlace if it is missing.
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

// ForProbe returns the backend that c.ForProbe describes, where store is the
// backend of c. It uses the connections or open folders of store, if any, and must be
// closed before store; pool is its own.
func ForProbe(ctx context.Context, store storage.Backend, c Config, pool *buffer.Pool) (storage.Backend, error) {
	switch store := store.(type) {
	case *s3.Backend:
		return store.ForProbe(pool), nil
	case *local.Backend:
		probing, err := store.ForProbe(pool)
		if err != nil {
			return nil, err
		}
		return probing, nil
	}
	return Open(ctx, c.ForProbe(), pool)
}
