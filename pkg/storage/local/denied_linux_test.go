package local_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
)

// asNobody gives a folder away and runs a function that has no right to read and write
// everything, as a root has: for the file system, its thread is another user.
func asNobody(t *testing.T, folder string, run func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		run()
		return
	}
	const nobody = 65534
	if err := filepath.WalkDir(folder, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, nobody, nobody)
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with this goroutine
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Error(err)
			return
		}
		run()
	}()
	<-done
}

func chmod(t *testing.T, mode os.FileMode, folder string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		name := filepath.Join(folder, filepath.FromSlash(key))
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(name, 0o700) }) //nolint:errcheck // so that it can be removed
	}
}

// TestFoldersThatCannotBeListed: each is an error that names it, and what is in the others is listed.
func TestFoldersThatCannotBeListed(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	b := open(t, folder)
	defer b.Close()
	for i := range 20 {
		put(t, b, fmt.Append(nil, i))
	}
	for _, name := range []string{storage.StagingPrefix + "/a/staged", storage.StagingPrefix + "/b/staged", storage.ProbePrefix + "/probe"} {
		name = filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var blobs []string
	for info, err := range b.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, storage.Key(info.Digests.SHA256))
	}
	leaf, above := filepath.ToSlash(filepath.Dir(blobs[0])), strings.Join(strings.Split(blobs[5], "/")[:2], "/")
	chmod(t, 0, folder, leaf, above, storage.StagingPrefix+"/a")
	asNobody(t, folder, func() {
		var found []string
		for info, err := range b.List(t.Context()) {
			if err != nil {
				found = append(found, err.Error())
			} else {
				found = append(found, storage.Key(info.Digests.SHA256))
			}
		}
		if len(found) != len(blobs) || !strings.HasPrefix(found[0], "list "+leaf+" in ") || found[1] != blobs[1] || !strings.HasPrefix(found[5], "list "+above+" in ") || found[19] != blobs[19] {
			t.Errorf("%q", found)
		}
		found = nil
		for orphan, err := range b.Orphans(t.Context()) {
			if err != nil {
				found = append(found, err.Error())
			} else {
				found = append(found, orphan.Key)
			}
		}
		if len(found) != 3 || !strings.HasPrefix(found[0], "list "+storage.StagingPrefix+"/a in ") || found[1] != storage.StagingPrefix+"/b/staged" || found[2] != storage.ProbePrefix+"/probe" {
			t.Errorf("%q", found)
		}
		for _, err := range b.List(t.Context()) { // one is enough
			if err != nil {
				break
			}
		}
	})
}

// TestProbeOfFoldersBelow: a probe fails where the folders in which blobs are refuse new ones.
func TestProbeOfFoldersBelow(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	b := open(t, folder)
	defer b.Close()
	first := put(t, b, []byte("first")).Hex()
	var second []byte
	for i := 0; ; i++ {
		second = fmt.Append(nil, i)
		if hex := digest.Of(second).SHA256.Hex(); hex[:2] == first[:2] && hex[2:4] != first[2:4] {
			break
		}
	}
	probing, err := b.ForProbe(buffer.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer probing.Close()
	try := func(b storage.Store, content []byte) error {
		_, err := b.Put(t.Context(), storage.Source{Reader: strings.NewReader(string(content)), Size: int64(len(content)), Want: digest.Of(content)})
		return err
	}
	if err := try(probing, second); err != nil {
		t.Fatal(err)
	}
	below := "sha256/" + first[:2]
	chmod(t, 0o500, folder, below)
	asNobody(t, folder, func() {
		if err := try(b, second); storage.ReasonOf(err) != storage.ReasonAccessDenied {
			t.Errorf("a blob: %v", err)
		}
		if err := try(probing, second); storage.ReasonOf(err) != storage.ReasonAccessDenied || !strings.Contains(err.Error(), below+" in ") {
			t.Errorf("a probe: %v", err)
		}
	})
}
