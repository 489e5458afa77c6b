package rules

import (
	"errors"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// TooManyFiles is the error of a session that would have so many.
func TooManyFiles(would int64) error {
	return registry.Invalid("files", "must be at most %d in one session, would be %d", registry.MaxFilesInOneUpload, would)
}

// OfPath renames the field of an error about a declaration of one file that the caller did
// not write.
func OfPath(err error) error {
	var invalid *registry.InvalidError
	if errors.As(err, &invalid) {
		return &registry.InvalidError{Field: "path", Message: invalid.Message}
	}
	return err
}

// About names the file that an error on a field is about.
func About(path string, err error) error {
	var invalid *registry.InvalidError
	if errors.As(err, &invalid) {
		return registry.Invalid(invalid.Field, "of %q: %s", path, invalid.Message)
	}
	return err
}
