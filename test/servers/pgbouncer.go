package servers

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// PgBouncer starts a PgBouncer before the cluster of a URL that Postgres returned, and
// returns the URL by way of it. It lends a connection for one transaction at a time
// (pool_mode=transaction), and has few of them, so that clients meet others' sessions.
func PgBouncer(tb testing.TB, address string) string {
	tb.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	bin, err := toolFolder("pgbouncer", "pgbouncer")
	if err != nil {
		tb.Fatal(err)
	}
	credential, err := unprivileged()
	if err != nil {
		tb.Fatal(err)
	}
	folder, err := Folder("pgbouncer")
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	if err := listener.Close(); err != nil {
		tb.Fatal(err)
	}
	config, users := filepath.Join(folder, "pgbouncer.ini"), filepath.Join(folder, "users")
	for file, text := range map[string]string{
		users: "\"artifactstore\" \"not-secret\"\n",
		config: fmt.Sprintf(`[databases]
* = host=%s
[pgbouncer]
listen_addr = %s
listen_port = %s
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
server_tls_sslmode = disable
`, parsed.Query().Get("host"), host, port, users),
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		tb.Fatal(err)
	}
	log := filepath.Join(folder, "log")
	server := program(filepath.Join(bin, "pgbouncer"), folder, credential, config)
	exited, err := launch(server, syscall.SIGKILL, log)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = server.Process.Kill() // it may have ended
		<-exited
	})
	through := fmt.Sprintf("postgres://artifactstore:not-secret@%s%s?sslmode=disable", net.JoinHostPort(host, port), parsed.Path)
	db, err := sql.Open("pgx", through)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // nothing is lost with it
	if err := waitUntil(exited, 30*time.Second, func(ctx context.Context) error { return db.PingContext(ctx) }); err != nil {
		tb.Fatalf("starting PgBouncer: %v\n%s", err, tailOf(log))
	}
	return through
}
