package credentials

import (
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

// File returns the source of a token in a file that changes while the program
// runs, such as a projected ServiceAccount token. It is at most rereadAfter old.
func File(path string) Source { return (&tokenFile{path: path}).token }

type tokenFile struct {
	path string

	mu     sync.Mutex
	files  *filewatch.Files // nil until the first read
	value  storage.Secret
	looked time.Time
}

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
	value, err := Read(file, f.path)
	if err == nil {
		f.value = value
	}
	return err
}

// Read reads a token to its end; from says where it is read.
func Read(reader io.Reader, from string) (storage.Secret, error) {
	content, err := io.ReadAll(io.LimitReader(reader, access.MaxTokenLength+2))
	if err != nil {
		return storage.Secret{}, err
	}
	return parse(content, from)
}
