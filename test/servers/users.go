package servers

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// S3Users is a versitygw that gives keys out and takes them back, for tests of
// what happens when credentials change. It is the test's own.
type S3Users struct {
	process *s3Process
	program string
}

// S3WithUsers starts one.
func S3WithUsers(tb testing.TB) *S3Users {
	tb.Helper()
	bin, err := toolFolder("versitygw", "versitygw")
	if err != nil {
		tb.Fatal(err)
	}
	accounts, err := os.MkdirTemp("", "artifactstore-versitygw-users-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(accounts) }) //nolint:errcheck // it is in the way of nothing
	// Without the cache, which would let keys in for two minutes after they were taken back.
	process, err := try5("versitygw", func() (*s3Process, error) {
		return startVersityGW(false, false, "--iam-dir", accounts, "--iam-cache-disable")
	})
	if err != nil {
		tb.Fatal(err)
	}
	return &S3Users{process, filepath.Join(bin, "versitygw")}
}

// Endpoint of the server, http://127.0.0.1:port.
func (u *S3Users) Endpoint() string { return u.process.Endpoint }

// Bucket makes one, and keys of its own to it.
func (u *S3Users) Bucket(tb testing.TB) S3Server {
	tb.Helper()
	return u.NewKeys(tb, u.process.bucket(tb))
}

// NewKeys returns the same bucket by other keys. Those that it was reached by stay good.
func (u *S3Users) NewKeys(tb testing.TB, bucket S3Server) S3Server {
	tb.Helper()
	bucket.AccessKey, bucket.SecretKey = "AK"+rand.Text(), rand.Text()
	u.AddKeys(tb, bucket)
	return bucket
}

// AddKeys makes these keys good, which someone has chosen.
func (u *S3Users) AddKeys(tb testing.TB, keys S3Server) {
	tb.Helper()
	u.admin(tb, "create-user", "--access", keys.AccessKey, "--secret", keys.SecretKey, "--role", "admin")
}

// Revoke takes the keys back: they are refused from now on.
func (u *S3Users) Revoke(tb testing.TB, keys S3Server) {
	tb.Helper()
	u.admin(tb, "delete-user", "--access", keys.AccessKey)
}

func (u *S3Users) admin(tb testing.TB, args ...string) {
	tb.Helper()
	command := exec.Command(u.program, append([]string{"admin", "--endpoint-url", u.process.Endpoint, "--region", u.process.Region}, args...)...)
	command.Env = []string{"ADMIN_ACCESS_KEY_ID=" + u.process.AccessKey, "ADMIN_SECRET_ACCESS_KEY=" + u.process.SecretKey, "PATH=/usr/bin:/bin"}
	if output, err := command.CombinedOutput(); err != nil {
		tb.Fatal(fmt.Errorf("versitygw %s: %w\n%s", args[0], err, output))
	}
}
