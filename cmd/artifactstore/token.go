package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/filewatch"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// rereadAfter is how long a token is used before it is reread: Kubernetes writes
// a new one minutes before the old one expires.
const rereadAfter = 10 * time.Second

// tokenFile reads a token that changes while the program runs, such as a
// projected ServiceAccount token.
type tokenFile struct {
	path string

	mu     sync.Mutex
	files  *filewatch.Files // nil until the first read
	value  storage.Secret
	looked time.Time
}

// token returns the content of the file, at most rereadAfter old.
func (f *tokenFile) token() (storage.Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.value.IsZero() && time.Since(f.looked) < rereadAfter {
		return f.value, nil
	}
	var err error
	if f.files == nil {
		var files *filewatch.Files
		if files, err = filewatch.Open(func() []string { return []string{f.path} }, f.take); err == nil {
			f.files = files
		}
	} else {
		err = f.files.Look()
	}
	if err != nil {
		return storage.Secret{}, fmt.Errorf("token-file: %w", err)
	}
	f.looked = time.Now()
	return f.value, nil
}

// take reads the file. f.mu is held.
func (f *tokenFile) take() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	content, err := io.ReadAll(io.LimitReader(file, access.MaxTokenLength+2))
	content = bytes.TrimSpace(content)
	switch {
	case err != nil:
		return err
	case len(content) == 0:
		return fmt.Errorf("%s is empty", f.path)
	case len(content) > access.MaxTokenLength:
		return fmt.Errorf("%s is larger than %d bytes, the limit for a token", f.path, access.MaxTokenLength)
	case bytes.ContainsFunc(content, func(c rune) bool { return c < '!' || c > '~' }):
		return fmt.Errorf("%s must contain exactly one token", f.path)
	}
	f.value = storage.NewSecret(string(content))
	return nil
}
