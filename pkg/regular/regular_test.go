package regular_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/regular"
)

// folder has one of each kind.
func folder(t *testing.T) string {
	t.Helper()
	in := t.TempDir()
	at := func(name string) string { return filepath.Join(in, name) }
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() }) //nolint:errcheck // a test's
	for _, err := range []error{
		os.WriteFile(at("file"), []byte("content"), 0o600), os.Symlink("file", at("link")),
		syscall.Mkfifo(at("pipe"), 0o600), os.Symlink("pipe", at("link to a pipe")), os.Mkdir(at("folder"), 0o700),
		os.Symlink("nothing", at("dangling")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return in
}

// within fails the test where do hangs.
func within(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	in := folder(t)
	root, err := os.OpenRoot(in)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close() //nolint:errcheck // a test's
	below := regular.NewFolder(root)
	defer below.Close() //nolint:errcheck // a test's
	for name, kind := range map[string]string{
		"file": "", "link": "", "pipe": "named pipe", "link to a pipe": "named pipe", "folder": "folder", "socket": "socket",
	} {
		for way, open := range map[string]func() (*os.File, error){
			filepath.Join(in, name): func() (*os.File, error) { return regular.Open(filepath.Join(in, name)) },
			name:                    func() (*os.File, error) { file, _, err := regular.OpenIn(root, name); return file, err },
			"./" + name:             func() (*os.File, error) { file, _, err := below.Open("./" + name); return file, err },
		} {
			within(t, "opening the "+kind+" "+way, func() {
				file, err := open()
				var wrong *regular.KindError
				switch {
				case kind == "" && err != nil, kind != "" && (!errors.As(err, &wrong) || *wrong != regular.KindError{Name: way, Kind: kind}):
					t.Errorf("%s: %v, want %q", way, err, kind)
				case err == nil:
					if content, err := io.ReadAll(file); string(content) != "content" || err != nil {
						t.Errorf("%s: %q, %v", way, content, err)
					}
					file.Close() //nolint:errcheck // a test's
				}
			})
		}
	}
	if _, err := regular.Open(filepath.Join(in, "dangling")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dangling: %v", err)
	}
	if _, err := regular.Open("/dev/zero"); err == nil || err.Error() != "/dev/zero is a device, not a regular file" {
		t.Errorf("a device: %v", err)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	in := folder(t)
	if content, err := regular.Read(filepath.Join(in, "file"), 7); string(content) != "content" || err != nil {
		t.Errorf("%q, %v", content, err)
	}
	if _, err := regular.Read(filepath.Join(in, "file"), 6); err == nil {
		t.Error("read more than it may")
	}
	within(t, "reading a pipe", func() {
		if _, err := regular.Read(filepath.Join(in, "pipe"), 6); err == nil {
			t.Error("read a pipe")
		}
	})
}

// A Folder opens what os.Root opens, and nothing else.
func TestFolderIsARoot(t *testing.T) {
	t.Parallel()
	in := folder(t)
	inside := filepath.Join(in, "folder")
	for _, err := range []error{
		os.WriteFile(filepath.Join(inside, "file"), []byte("content"), 0o600), os.Symlink("../file", filepath.Join(inside, "out")),
		os.Symlink(filepath.Join(inside, "file"), filepath.Join(inside, "absolute")), os.Symlink("file", filepath.Join(inside, "beside")),
		os.Mkdir(filepath.Join(inside, "a"), 0o700), os.Symlink("../file", filepath.Join(inside, "a", "above")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close() //nolint:errcheck // a test's
	below := regular.NewFolder(root)
	for _, name := range []string{"file", "out", "absolute", "beside", "a/above", "a/../file", "../file", "/etc/hostname", "missing", "a/missing", "file/x", ""} {
		want, _, wantErr := regular.OpenIn(root, name)
		got, info, err := below.Open(name)
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Errorf("%q: %v, os.Root says %v", name, err, wantErr)
		}
		if err == nil && wantErr == nil {
			if got.Name() != want.Name() || info.Size() != int64(len("content")) {
				t.Errorf("%q is %s of %d bytes, os.Root says %s", name, got.Name(), info.Size(), want.Name())
			}
			got.Close()  //nolint:errcheck // a test's
			want.Close() //nolint:errcheck // a test's
		}
	}
	if err := below.Close(); err != nil {
		t.Fatal(err)
	}
	if file, _, err := below.Open("file"); err != nil {
		t.Errorf("root is open yet: %v", err)
	} else {
		file.Close() //nolint:errcheck // a test's
	}
}
