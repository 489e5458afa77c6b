package bench

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/test/programs"
)

// BenchmarkCLIStart measures the start of the CLI until the first byte of its request
// arrives: with the address in the environment, and with a context that has a token.
func BenchmarkCLIStart(b *testing.B) {
	program := programs.Path(b, "artifactstore")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nobody connects any more
	server := "http://" + listener.Addr().String()
	config := filepath.Join(b.TempDir(), "config.yaml")
	text := fmt.Sprintf("current: a\ncontexts:\n- {name: a, server: '%s', token: a-token-of-the-benchmark}\n", server)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		for what, variable := range map[string]string{"by the environment": "ARTIFACTSTORE_SERVER=" + server, "by a context": "ARTIFACTSTORE_CONFIG=" + config} {
			milliseconds(b, "CLI start to the first byte sent, "+what, 30, func(int) time.Duration {
				return firstByte(b, listener, program, variable)
			})
		}
	}
}

// firstByte runs a list of nothing.
func firstByte(b *testing.B, listener net.Listener, program, variable string) time.Duration {
	b.Helper()
	command := exec.Command(program, "list")
	command.Env = []string{"HOME=/nonexistent", variable}
	began := time.Now()
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	connection, err := listener.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer connection.Close() //nolint:errcheck // it is answered
	if _, err := connection.Read(make([]byte, 64<<10)); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"packages\":[]}"
	if _, err := fmt.Fprint(connection, answer); err != nil {
		b.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		b.Fatal(err)
	}
	return took
}
