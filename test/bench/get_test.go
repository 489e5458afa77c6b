package bench

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

// BenchmarkGetFromLocal reads a blob of 1 GiB through the manager against
// net/http's FileServer, a process as well, that serves the same stored file.
func BenchmarkGetFromLocal(b *testing.B) {
	const rounds = 9
	file := randomFile(b, gibibyte)
	manager, cli, objects := localRegistry(b)
	push(b, cli, file, "1")
	hash := strings.Fields(cli.Run(b, programs.ExitDone, "digest", file).Stdout)[0]
	hex := strings.TrimPrefix(hash, "sha256:")
	stored := filepath.Join("sha256", hex[:2], hex[2:4], hex)
	bareURL := startFileServer(b, objects) + "/" + stored
	blobURL := manager.URL + "/v1/blobs/" + hash
	client := &http.Client{Transport: &http.Transport{}}
	fetch := func(url string) time.Duration { return get(b, client, url, gibibyte) }
	fetch(blobURL)
	fetch(bareURL) // both connections are open, the file is in the page cache
	for range b.N {
		c := inTurns(b, rounds, func(int) time.Duration { return fetch(blobURL) }, func(int) time.Duration { return fetch(bareURL) })
		atLeast(b, "get a blob of 1 GiB from local / FileServer", c.ratio, 0.9)
		told("  manager; FileServer", rate(gibibyte, c.ours)+"; "+rate(gibibyte, c.bare))
	}
}

// get reads an answer to its end in large pieces, so that the reading side costs little.
func get(b *testing.B, client *http.Client, url string, size int64) time.Duration {
	b.Helper()
	began := time.Now()
	answer, err := client.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // its bytes are counted
	buffer := make([]byte, mebibyte)
	var total int64
	for {
		n, err := answer.Body.Read(buffer)
		total += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if answer.StatusCode != http.StatusOK || total != size {
		b.Fatalf("%s answers %s and %d bytes, want %d", url, answer.Status, total, size)
	}
	return time.Since(began)
}

func startFileServer(b *testing.B, folder string) string {
	b.Helper()
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	command := exec.Command(program)
	command.Env = append(os.Environ(), fileServerFolder+"="+folder)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := servers.Start(command); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // killed, as meant
	})
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		b.Fatal(fmt.Errorf("the file server does not say where it serves: %w", err))
	}
	return "http://" + strings.TrimSpace(address)
}
