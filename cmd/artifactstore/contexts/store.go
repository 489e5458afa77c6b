package contexts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/coulomb/artifact-store/pkg/regular"
)

// maxFile bounds the file, in bytes: a hundred contexts with the longest tokens are larger.
const maxFile = 1 << 20

// Load reads the file; one that is missing is empty. A file that others may read
// gets the mode 0600, and warn is told; one that others may write is refused.
func Load(path string, warn func(string)) (*File, error) {
	if path == "" {
		return new(File), nil
	}
	content, err := read(path, warn)
	if errors.Is(err, fs.ErrNotExist) {
		return new(File), nil
	}
	if err != nil {
		return nil, err
	}
	file, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

func read(path string, warn func(string)) ([]byte, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	if err := protect(file, path, warn); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	return content, err
}

// protect sees to it that the file is its owner's alone. On Windows the rights of
// the user's folder do.
func protect(file *os.File, path string, warn func(string)) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	switch mode := info.Mode().Perm(); {
	case mode&0o022 != 0:
		return fmt.Errorf("%s: other users may change it (mode %04o), and it says where tokens are sent: check what it says, then run chmod 600 %s", path, mode, path)
	case mode&0o077 != 0:
		if err := file.Chmod(0o600); err != nil {
			return fmt.Errorf("%s: other users may read it (mode %04o), and it may have tokens: %w", path, mode, err)
		}
		warn(fmt.Sprintf("%s: other users could read it (mode %04o); it has the mode 0600 now", path, mode))
	}
	return nil
}

// Update changes the file: change gets what is in it, and unless it fails the
// result takes the file's place as a whole. Updates of several processes follow
// each other.
func Update(path string, warn func(string), change func(*File) error) error {
	if path == "" {
		return fmt.Errorf("there is no home folder to keep contexts in: set %s to the path of a file", Env)
	}
	// A link stays one: the file that it leads to is replaced.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	unlock, err := lockedfile.MutexAt(path + ".lock").Lock()
	if err != nil {
		return fmt.Errorf("locking %s: %w", path, err)
	}
	defer unlock()
	file, err := Load(path, warn)
	if err != nil {
		return err
	}
	if err := change(file); err != nil {
		return err
	}
	if err := file.validate(); err != nil {
		return err
	}
	content, err := file.encode()
	if err != nil {
		return err
	}
	return replace(path, content)
}

// replace writes beside the file, with the mode 0600, and renames.
func replace(path string, content []byte) error {
	written, err := os.CreateTemp(filepath.Dir(path), ".config-*")
	if err != nil {
		return err
	}
	_, err = written.Write(content)
	err = errors.Join(err, written.Sync(), written.Close())
	if err == nil {
		err = os.Rename(written.Name(), path)
	}
	if err != nil {
		os.Remove(written.Name()) //nolint:errcheck // the first error counts
	}
	return err
}
