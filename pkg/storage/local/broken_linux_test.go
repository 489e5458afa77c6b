package local_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
)

// fullPlace names the folder in the process that may mount something there.
const fullPlace = "ARTIFACTSTORE_TEST_FULL_PLACE"

// TestFullPlace: what makes room works where there is none. It runs itself again,
// among mounts of its own, on a file system of 256 KiB.
func TestFullPlace(t *testing.T) {
	folder := os.Getenv(fullPlace)
	if folder == "" {
		again := exec.Command(os.Args[0], "-test.run=^TestFullPlace$", "-test.v")
		again.Env = append(os.Environ(), fullPlace+"="+t.TempDir())
		again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if uid := os.Getuid(); uid != 0 {
			again.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			again.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
			again.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		output, err := again.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "--- PASS: TestFullPlace") {
			t.Fatalf("%v:\n%s", err, output)
		}
		return
	}
	for _, err := range []error{
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("none", folder, "tmpfs", 0, "size=256k"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, folder)
	defer b.Close()
	old := storage.Orphan{Kind: storage.OrphanStaged, Key: storage.StagingPrefix + "/crashed", Size: 64 << 10}
	if err := os.WriteFile(filepath.Join(folder, filepath.FromSlash(old.Key)), make([]byte, old.Size), 0o600); err != nil {
		t.Fatal(err)
	}
	blob := storagetest.Bytes(1, 32<<10)
	write := func() error {
		_, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(blob), Size: storage.UnknownSize})
		return err
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(folder, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4<<10))
	}
	if err := errors.Join(filler.Close(), write()); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("it is to be full: %v", err)
	}
	now, err := b.Now(t.Context())
	if age := time.Since(now); err != nil || age < -time.Second || age > time.Minute {
		t.Errorf("the time of a full place: %s ago, %v", age, err)
	}
	for orphan, err := range b.Orphans(t.Context()) {
		if err != nil || orphan.Key != old.Key {
			t.Errorf("%+v, %v", orphan, err)
		}
	}
	if err := b.RemoveOrphan(t.Context(), old); err != nil {
		t.Errorf("making room: %v", err)
	}
	if err := write(); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestProbeGoesTheWayOfABlob: what keeps blobs from being stored fails a probe, too.
func TestProbeGoesTheWayOfABlob(t *testing.T) {
	t.Parallel()
	remove := func(t *testing.T, name string) {
		t.Helper()
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	replace := func(t *testing.T, name string) {
		t.Helper()
		remove(t, name)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, hinder := range map[string]func(t *testing.T, folder string){
		"staging was removed":   func(t *testing.T, folder string) { remove(t, filepath.Join(folder, ".artifactstore", "staging")) },
		"staging is a file now": func(t *testing.T, folder string) { replace(t, filepath.Join(folder, ".artifactstore", "staging")) },
		"sha256 is a file now":  func(t *testing.T, folder string) { replace(t, filepath.Join(folder, "sha256")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			b := open(t, folder)
			defer b.Close()
			probing, err := b.ForProbe(buffer.Default())
			if err != nil {
				t.Fatal(err)
			}
			defer probing.Close()
			try := func(b storage.Store, content string) error {
				_, err := b.Put(t.Context(), storage.Source{Reader: strings.NewReader(content), Size: int64(len(content)), Want: digest.Of([]byte(content))})
				return err
			}
			if err := try(probing, "before"); err != nil {
				t.Fatal(err)
			}
			if found := files(t, folder); len(found) != 1 || !strings.HasPrefix(found[0], storage.ProbePrefix+"/") {
				t.Errorf("the probe wrote %q", found)
			}
			hinder(t, folder)
			if err := try(b, "a blob"); err == nil {
				t.Fatal("nothing hinders a blob")
			}
			if err := try(probing, "a probe"); err == nil {
				t.Error("the probe succeeds where no blob can be stored")
			}
		})
	}
}

// TestWhatIsInPlaceOfABlob: nothing but a regular file is opened, none hangs, and the
// error names what is there.
func TestWhatIsInPlaceOfABlob(t *testing.T) {
	t.Parallel()
	for kind, create := range map[string]func(name string) error{
		"named pipe": func(name string) error { return syscall.Mkfifo(name, 0o600) },
		"folder":     func(name string) error { return os.Mkdir(name, 0o700) },
		"socket": func(name string) error { // by another name first: that of a socket has 108 bytes at most
			short := filepath.Join(os.TempDir(), digest.Of([]byte(name)).SHA256.Hex()[:16])
			listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: short})
			if err != nil {
				return err
			}
			listener.SetUnlinkOnClose(false)
			return errors.Join(listener.Close(), os.Rename(short, name))
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			b := open(t, folder)
			defer b.Close()
			name := put(t, b, []byte("bytes"))
			for _, key := range []string{storage.Key(name), storage.MarkerKey, storage.HeadMarkKey} {
				at := filepath.Join(folder, filepath.FromSlash(key))
				os.Remove(at)
				if err := create(at); err != nil {
					t.Fatal(err)
				}
			}
			want := storage.Key(name) + " in " + folder + " is a " + kind + ", not a file"
			within(t, func() {
				_, _, err := b.Get(t.Context(), name, nil)
				if !errors.Is(err, storage.ErrNotFound) || err.Error() != want || storage.ReasonOf(err) != storage.ReasonNotAFile {
					t.Errorf("Get: %v", err)
				}
				if _, err := b.Head(t.Context(), name); !errors.Is(err, storage.ErrNotFound) || err.Error() != want {
					t.Errorf("Head: %v", err)
				}
				for info, err := range b.List(t.Context()) {
					t.Errorf("listed %v, %v", info, err)
				}
				// A marker that is something else is not a place without one: nobody may claim it.
				if _, err := b.CreateMarker(t.Context(), []byte("mine")); err == nil || errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), storage.MarkerKey+" in "+folder+" is a "+kind) {
					t.Errorf("CreateMarker: %v", err)
				}
				if _, err := b.ReadHeadMark(t.Context()); err == nil || errors.Is(err, storage.ErrNotFound) {
					t.Errorf("ReadHeadMark: %v", err)
				}
				if kind != "folder" { // which nothing replaces
					if put(t, b, []byte("bytes")) != name {
						t.Error("a push does not mend it")
					}
				}
			})
		})
	}
}

// TestOpenDoesNotHang: named pipes in place of the folders.
func TestOpenDoesNotHang(t *testing.T) {
	t.Parallel()
	for _, at := range []string{".", ".artifactstore/staging", ".artifactstore", "sha256"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "place")
			pipe := filepath.Join(folder, filepath.FromSlash(at))
			if err := errors.Join(os.MkdirAll(filepath.Dir(pipe), 0o750), syscall.Mkfifo(pipe, 0o600)); err != nil {
				t.Fatal(err)
			}
			within(t, func() {
				b, err := local.Open(t.Context(), local.Config{Path: folder}, buffer.Default())
				if err == nil {
					defer b.Close()
					_, err = b.Put(t.Context(), storage.Source{Reader: strings.NewReader("bytes"), Size: 5})
				}
				if !errors.Is(err, storage.ErrNoPlace) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// within fails the test where do hangs.
func within(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("it hangs")
	}
}
