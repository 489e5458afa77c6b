package servers

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Distribution starts the registry of the CNCF project of that name, with its files in
// a temporary folder, and returns its URL. It says nothing of requests, and traces none.
func Distribution(tb testing.TB) string {
	tb.Helper()
	bin, err := toolFolder("distribution", "registry")
	if err != nil {
		tb.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "artifactstore-distribution-")
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		tb.Fatal(err)
	}
	config := filepath.Join(folder, "config.yml")
	text := fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: %s}
http: {addr: %s}
`, filepath.Join(folder, "registry"), address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	server := exec.Command(filepath.Join(bin, "registry"), "serve", config)
	server.Dir, server.Env = folder, []string{"HOME=" + folder, "TMPDIR=" + folder, "OTEL_TRACES_EXPORTER=none"}
	exited, err := serve(server, syscall.SIGKILL, folder)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = server.Process.Kill() // its folder goes with this process
		<-exited
	})
	url := "http://" + address
	err = waitUntil(exited, 60*time.Second, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v2/", http.NoBody)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	})
	if err != nil {
		tb.Fatalf("starting distribution: %v\n%s", err, tail(folder))
	}
	return url
}
