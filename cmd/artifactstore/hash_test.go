package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// walkOf writes files with the given contents and collects them.
func walkOf(t *testing.T, contents ...[]byte) []localFile {
	t.Helper()
	dir := t.TempDir()
	for i, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := collect([]string{dir}, walkOptions{}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return tree.files
}

func TestHashFiles(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("0123456789abcdef"), smallFile/16+1)
	contents := [][]byte{{}, []byte("a"), bytes.Repeat([]byte("b"), smallFile), large, []byte("after")}
	for _, keep := range []int64{0, 1, smallFile, keepBudget} {
		t.Run(strconv.FormatInt(keep, 10), func(t *testing.T) {
			t.Parallel()
			files := walkOf(t, contents...)
			if err := hashFiles(t.Context(), files, keep, &meter{}); err != nil {
				t.Fatal(err)
			}
			var kept int64
			for i, f := range files {
				if f.digests != digest.Of(contents[i]) {
					t.Errorf("file %d: digests %s", i, f.digests)
				}
				if f.content != nil && !bytes.Equal(f.content, contents[i]) {
					t.Errorf("file %d: other bytes were kept", i)
				}
				if f.size() > smallFile && f.content != nil {
					t.Errorf("file %d of %d bytes was kept", i, f.size())
				}
				kept += int64(len(f.content))
			}
			if kept > keep {
				t.Errorf("%d bytes were kept, the budget is %d", kept, keep)
			}
			if keep == keepBudget && files[2].content == nil {
				t.Error("a file within the budget was not kept")
			}
		})
	}
}

// A file that is not the one found fails; it is never hashed in its place.
func TestHashFilesChanged(t *testing.T) {
	t.Parallel()
	small, large := []byte("before"), make([]byte, smallFile+1)
	for name, change := range map[string]func(path string) error{
		"grown":    func(path string) error { return appendByte(path) },
		"cut":      func(path string) error { return os.Truncate(path, 3) },
		"replaced": func(path string) error { return replace(path) },
	} {
		for size, content := range map[string][]byte{"small": small, "large": large} {
			t.Run(name+" "+size, func(t *testing.T) {
				t.Parallel()
				files := walkOf(t, content)
				if err := change(files[0].name); err != nil {
					t.Fatal(err)
				}
				var changed *changedError
				if err := hashFiles(t.Context(), files, keepBudget, &meter{}); !errors.As(err, &changed) {
					t.Fatalf("got %v, want a changedError", err)
				}
			})
		}
	}
}

func appendByte(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = file.Write([]byte{1})
	return errors.Join(err, file.Close())
}

// replace puts a file of the same size and time in its place.
func replace(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	other := path + ".new"
	if err := os.WriteFile(other, bytes.Repeat([]byte("x"), int(info.Size())), 0o644); err != nil {
		return err
	}
	if err := os.Chtimes(other, info.ModTime(), info.ModTime()); err != nil {
		return err
	}
	return os.Rename(other, path)
}
