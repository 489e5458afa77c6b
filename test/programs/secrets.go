package programs

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// IncludeSecrets returns the flags by which push takes a tree with the private keys that are
// in it, such as those of the standard library's tests.
func IncludeSecrets(t testing.TB, tree string) (flags []string) {
	t.Helper()
	if err := filepath.WalkDir(tree, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()                                        //nolint:errcheck // opened for reading
		line, _ := bufio.NewReaderSize(file, 128).ReadSlice('\n') // of what is longer, the beginning
		if bytes.Contains(line, []byte("PRIVATE KEY-----")) {
			path, err := filepath.Rel(tree, name)
			flags = append(flags, "--include-secrets", filepath.ToSlash(path))
			return err
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return flags
}
