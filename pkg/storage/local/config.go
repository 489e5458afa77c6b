package local

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// Config says which folder holds the blobs.
type Config struct {
	// Path of the folder: absolute and clean. It must exist, unless Create.
	Path string `json:"path"`
	// Create creates Path if it is missing. A volume that failed to mount would
	// then be an empty folder, so set it only for a disk of your own.
	Create bool `json:"-"`

	// below is a folder within Path that is created as needed.
	below string
}

// Validate checks the fields; errors name them in camelCase.
func (c Config) Validate() error {
	switch {
	case c.Path == "":
		return errors.New("path: must not be empty")
	case strings.ContainsRune(c.Path, 0):
		return errors.New("path: must not contain NUL")
	case !filepath.IsAbs(c.Path):
		return fmt.Errorf("path: %.200q must be absolute", c.Path)
	case filepath.Clean(c.Path) != c.Path:
		return fmt.Errorf("path: %.200q must be written as %.200q", c.Path, filepath.Clean(c.Path))
	case c.Path == "/":
		return errors.New("path: must be a folder of its own, not /")
	}
	return nil
}

// Place describes where the bytes are.
func (c Config) Place() string { return filepath.Join(c.Path, c.below) }

// ForProbe returns the config of the probe's folder within the same place.
func (c Config) ForProbe() Config {
	c.below = filepath.Join(c.below, filepath.FromSlash(storage.ProbePrefix))
	return c
}
