package bench

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/test/servers"
)

// readers is how many clients read at a time, each on a connection of its own.
const readers = 8

// BenchmarkGetSmall has clients read a blob of 4 KiB, against the same from distribution,
// the registry of many others, with its blobs on the same disk.
func BenchmarkGetSmall(b *testing.B) {
	const rounds, each, eachBare, goal = 9, 1000, 100, 15
	manager, content, name := smallRegistry(b)
	distribution := servers.Distribution(b)
	address := distributionBlob(b, distribution, content)
	for range b.N {
		c := inTurns(b, rounds,
			func(int) time.Duration { return readMany(b, manager, "/v1/blobs/"+name, content, each) },
			func(int) time.Duration { return readMany(b, distribution, address, content, eachBare) })
		atLeast(b, "get a blob of 4 KiB / from distribution 3.1.2, 8 clients", c.ratio, goal)
		told("  manager; distribution", fmt.Sprintf("%.0f/s; %.0f/s", 1000/c.ours.Seconds(), 1000/c.bare.Seconds()))
	}
}

// BenchmarkGetByPath has clients read a file of 4 KiB by its path in a package, against
// the same by its digest.
func BenchmarkGetByPath(b *testing.B) {
	const rounds, each, goal = 9, 2000, 0.8
	manager, content, name := smallRegistry(b)
	reads := func(path string) func(int) time.Duration {
		return func(int) time.Duration { return readMany(b, manager, path, content, each) }
	}
	for range b.N {
		c := inTurns(b, rounds, reads("/v1/packages/bench/read/1/files/"+smallPath), reads("/v1/blobs/"+name))
		atLeast(b, "get a file of 4 KiB by path / by digest, 8 clients", c.ratio, goal)
	}
}

const smallPath = "some/folder/file"

// smallRegistry starts a manager that has a package with one small file, at smallPath,
// and returns its URL, the file's content and its digest.
func smallRegistry(b *testing.B) (url string, content []byte, name string) {
	b.Helper()
	manager, _, _ := localRegistry(b)
	r := byHTTP{manager.URL, newHTTPClient()}
	content = small("read", 0)
	upload, err := r.open(b.Context(), "read")
	if err != nil {
		b.Fatal(err)
	}
	found, err := r.put(b.Context(), upload, smallPath, bytes.NewReader(content), int64(len(content)))
	if err == nil {
		err = r.seal(b.Context(), upload)
	}
	if err != nil {
		b.Fatal(err)
	}
	return manager.URL, content, found.String()
}

// distributionBlob stores a blob by the OCI's protocol and returns its path.
func distributionBlob(b *testing.B, server string, content []byte) string {
	b.Helper()
	name := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	begun, err := http.Post(server+"/v2/bench/blobs/uploads/", "", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	begun.Body.Close() //nolint:errcheck // only its header counts
	put, err := http.NewRequestWithContext(b.Context(), http.MethodPut, begun.Header.Get("Location")+"&digest="+name, bytes.NewReader(content))
	if err != nil {
		b.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(put)
	if err != nil {
		b.Fatal(err)
	}
	answer.Body.Close() //nolint:errcheck // only its status counts
	if answer.StatusCode != http.StatusCreated {
		b.Fatalf("distribution answers a put with %s", answer.Status)
	}
	return "/v2/bench/blobs/" + name
}

// readMany has the readers get a path, each so often, and returns the time for 1,000 answers.
func readMany(b *testing.B, server, path string, content []byte, each int) time.Duration {
	b.Helper()
	began, done := time.Now(), make(chan error, readers)
	for range readers {
		go func() { done <- readAgain(strings.TrimPrefix(server, "http://"), path, content, each) }()
	}
	for range readers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began) * 1000 / time.Duration(readers*each)
}

// readAgain gets a path on one connection. The answers of a server are all as long as the
// first: a client that understood each would cost as much as the server does.
func readAgain(host, path string, content []byte, times int) error {
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it is only read
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
	answer, length := make([]byte, len(content)+4096), 0
	for n := range times {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		for n == 0 && !bytes.HasSuffix(answer[:length], content) {
			more, err := conn.Read(answer[length:])
			if err != nil {
				return fmt.Errorf("%w after %q", err, answer[:length])
			}
			length += more
		}
		if n > 0 {
			if _, err := io.ReadFull(conn, answer[:length]); err != nil {
				return err
			}
		}
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) || !bytes.HasSuffix(answer[:length], content) {
			return fmt.Errorf("GET %s: %q", path, answer[:length])
		}
	}
	return nil
}
