package bench

import (
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/test/programs"
)

// BenchmarkVerifyLocal has the manager verify a blob of 1 GiB, which takes both digests of
// it, against one core's SHA-256 of the same stored file.
func BenchmarkVerifyLocal(b *testing.B) {
	const rounds, goal = 9, 0.95
	file := randomFile(b, gibibyte)
	manager, cli, objects := localRegistry(b)
	push(b, cli, file, "1")
	hash := strings.Fields(cli.Run(b, programs.ExitDone, "digest", file).Stdout)[0]
	hex := strings.TrimPrefix(hash, "sha256:")
	stored := filepath.Join(objects, "sha256", hex[:2], hex[2:4], hex)
	client := manager.Client(b)
	verify := func(int) time.Duration {
		began := time.Now()
		report, err := client.VerifyBackend(b.Context(), "only", registry.VerifyOptions{}, nil)
		if err != nil || report.Verified < 1 || report.CheckedBytes < gibibyte || report.Corrupt+report.Missing+report.Unreachable > 0 {
			b.Fatalf("%+v, %v", report, err)
		}
		return time.Since(began)
	}
	bare := func(int) time.Duration {
		began := time.Now()
		open, err := os.Open(stored)
		if err != nil {
			b.Fatal(err)
		}
		defer open.Close() //nolint:errcheck // opened for reading
		if _, err := io.CopyBuffer(sha256.New(), struct{ io.Reader }{open}, make([]byte, mebibyte)); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	bare(0) // the file is in the page cache
	for range b.N {
		c := inTurns(b, rounds, verify, bare)
		atLeast(b, "verify a blob of 1 GiB on local / SHA-256 of it by one core", c.ratio, goal)
		told("  manager; one core", rate(gibibyte, c.ours)+"; "+rate(gibibyte, c.bare))
	}
}

// BenchmarkGetByPath has 8 clients read a file of 4 KiB by its path in a package, against
// the same by its digest.
func BenchmarkGetByPath(b *testing.B) {
	const rounds, each, clients, goal = 9, 2000, 8, 0.8
	manager, _, _ := localRegistry(b)
	r := byHTTP{manager.URL, newHTTPClient()}
	upload, err := r.open(b.Context(), "read")
	if err != nil {
		b.Fatal(err)
	}
	content := small("read", 0)
	name, err := r.put(b.Context(), upload, "some/folder/file", strings.NewReader(string(content)), int64(len(content)))
	if err == nil {
		err = r.seal(b.Context(), upload)
	}
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	reads := func(path string) func(int) time.Duration {
		return func(int) time.Duration {
			began := time.Now()
			done := make(chan error, clients)
			for range clients {
				go func() {
					var failed error
					for range each {
						answer, err := client.Get(manager.URL + path)
						if err == nil {
							_, err = io.Copy(io.Discard, answer.Body)
							answer.Body.Close() //nolint:errcheck // it is read to its end
						}
						if err == nil && answer.StatusCode != http.StatusOK {
							err = errors.New(answer.Status)
						}
						if err != nil {
							failed = err
						}
					}
					done <- failed
				}()
			}
			for range clients {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			return time.Since(began)
		}
	}
	for range b.N {
		c := inTurns(b, rounds, reads("/v1/packages/bench/read/1/files/some/folder/file"), reads("/v1/blobs/"+name.String()))
		atLeast(b, "get a file of 4 KiB by path / by digest, 8 clients", c.ratio, goal)
	}
}
