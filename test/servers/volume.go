package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// ownMounts names, to a process of its own, the test that runs there.
const ownMounts = "ARTIFACTSTORE_TEST_OWN_MOUNTS"

// OwnMounts runs the test again in a process with mounts of its own, which end with it
// however it ends. There it returns true; here, once the test has passed there, false.
// Who is not root needs user namespaces for it.
func OwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownMounts) == t.Name() {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	again.Env = append(os.Environ(), ownMounts+"="+t.Name())
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid := os.Geteuid(); uid != 0 {
		const capSysAdmin = 21 // to mount
		gid := os.Getegid()    // PostgreSQL does not run as root, so nobody becomes root there
		again.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		again.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		again.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		again.SysProcAttr.AmbientCaps = []uintptr{capSysAdmin}
	}
	var output strings.Builder
	again.Stdout, again.Stderr = &output, &output
	err := Start(again)
	if err == nil {
		err = again.Wait()
	}
	if err != nil || !strings.Contains(output.String(), "--- PASS: "+t.Name()) {
		t.Fatalf("in a process with mounts of its own: %v\n%s", err, output.String())
	}
	t.Log(output.String())
	return false
}

// Volume is a small file system in memory.
type Volume struct {
	// Folder is its root, which PostgreSQL's user owns.
	Folder string

	tb testing.TB
}

// NewVolume mounts one of that many bytes, until the test ends. The test must have OwnMounts.
func NewVolume(tb testing.TB, size int64) *Volume {
	tb.Helper()
	folder, err := Folder("volume")
	if err != nil {
		tb.Fatal(err)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if credential, err := unprivileged(); err != nil {
		tb.Fatal(err)
	} else if credential != nil {
		uid, gid = int(credential.Uid), int(credential.Gid)
	}
	if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // PostgreSQL's user passes through it
		tb.Fatal(err)
	}
	v := &Volume{filepath.Join(folder, "mounted"), tb}
	err = errors.Join(os.Mkdir(v.Folder, 0o700), syscall.Mount("none", v.Folder, "tmpfs", 0, fmt.Sprintf("size=%d,uid=%d,gid=%d,mode=0700", size, uid, gid)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := syscall.Unmount(v.Folder, syscall.MNT_DETACH); err != nil {
			tb.Error(err)
		}
	})
	return v
}

func (v *Volume) filler() string { return filepath.Join(v.Folder, "filler") }

// Fill leaves no byte free.
func (v *Volume) Fill() {
	v.tb.Helper()
	file, err := os.OpenFile(v.filler(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		v.tb.Fatal(err)
	}
	for _, piece := range []int{1 << 20, 4 << 10, 1} {
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, piece))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			v.tb.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		v.tb.Fatal(err)
	}
}

// MakeRoom undoes Fill.
func (v *Volume) MakeRoom() {
	v.tb.Helper()
	if err := os.Remove(v.filler()); err != nil {
		v.tb.Fatal(err)
	}
}
