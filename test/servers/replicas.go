package servers

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// PostgresServer is a PostgreSQL of one test, on a port of loopback: the test may stop it.
type PostgresServer struct {
	// Address is its host:port.
	Address string

	tb         testing.TB
	bin        string
	folder     string
	data       string
	credential *syscall.Credential
	process    *os.Process
	exited     <-chan struct{}
}

// PostgresPair starts a primary and a streaming standby, which has every commit before
// its client knows of it.
func PostgresPair(tb testing.TB) (primary, standby *PostgresServer) {
	tb.Helper()
	primary, standby = newPostgresServer(tb), newPostgresServer(tb)
	if err := initdb(primary.bin, primary.folder, primary.data, primary.credential); err != nil {
		tb.Fatal(err)
	}
	primary.Start()
	host, port, err := net.SplitHostPort(primary.Address)
	if err != nil {
		tb.Fatal(err)
	}
	copying := program(filepath.Join(primary.bin, "pg_basebackup"), standby.folder, standby.credential, "--host", host, "--port", port,
		"--username", "artifactstore", "--pgdata", standby.data, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	if output, err := copying.CombinedOutput(); err != nil {
		tb.Fatalf("pg_basebackup: %v\n%s", err, output)
	}
	standby.Start()
	primary.Do("ALTER SYSTEM SET synchronous_standby_names = '*'")
	primary.Do("SELECT pg_reload_conf()")
	return primary, standby
}

// PostgresOn starts one whose data, and its write-ahead log in files of 1 MiB, are in
// these folders of PostgreSQL's user; "" for one of its own.
func PostgresOn(tb testing.TB, data, wal string) *PostgresServer {
	tb.Helper()
	s := newPostgresServer(tb)
	s.data = filepath.Join(cmp.Or(data, s.folder), "data")
	if err := initdb(s.bin, s.folder, s.data, s.credential, "--waldir", filepath.Join(cmp.Or(wal, s.folder), "wal"), "--wal-segsize=1"); err != nil {
		tb.Fatal(err)
	}
	s.Start()
	return s
}

func newPostgresServer(tb testing.TB) *PostgresServer {
	tb.Helper()
	s := &PostgresServer{tb: tb}
	var err1, err2, err3 error
	s.bin, err1 = toolFolder("postgresql", "initdb", "postgres", "pg_basebackup")
	s.credential, err2 = unprivileged()
	s.folder, err3 = Folder("pg-server")
	if err := errors.Join(err1, err2, err3); err != nil {
		tb.Fatal(err)
	}
	s.data = filepath.Join(s.folder, "data")
	if s.credential != nil {
		if err := os.Chown(s.folder, int(s.credential.Uid), int(s.credential.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s.Address = listener.Addr().String()
	if err := listener.Close(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	return s
}

// Start starts it, again after Stop, and waits until it answers.
func (s *PostgresServer) Start() {
	s.tb.Helper()
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		s.tb.Fatal(err)
	}
	server := program(filepath.Join(s.bin, "postgres"), s.folder, s.credential, "-D", s.data)
	for _, setting := range []string{
		"listen_addresses=" + host, "port=" + port, "unix_socket_directories=", "max_connections=200", "shared_buffers=32MB",
		"fsync=off", "full_page_writes=off", "timezone=UTC", "client_connection_check_interval=1s",
	} {
		server.Args = append(server.Args, "-c", setting)
	}
	log := filepath.Join(s.folder, "log")
	if s.exited, err = launch(server, syscall.SIGQUIT, log); err != nil {
		s.tb.Fatal(err)
	}
	s.process = server.Process
	if err := waitUntil(s.exited, 60*time.Second, func(ctx context.Context) error { return s.Try(ctx, "SELECT 1") }); err != nil {
		s.tb.Fatalf("starting PostgreSQL: %v\n%s", err, tailOf(log))
	}
}

// Exited is closed when it has ended, whoever ended it.
func (s *PostgresServer) Exited() <-chan struct{} { return s.exited }

// Stop ends it at once, as if the machine was lost.
func (s *PostgresServer) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Signal(syscall.SIGQUIT) // it may have ended
	<-s.exited
	s.process = nil
}

// Promote makes a standby the primary.
func (s *PostgresServer) Promote() {
	s.tb.Helper()
	s.Do("SELECT pg_promote()")
}

// URL of its database, by way of these addresses; by its own if there are none.
func (s *PostgresServer) URL(addresses ...string) string {
	if len(addresses) == 0 {
		addresses = []string{s.Address}
	}
	return fmt.Sprintf("postgres://artifactstore:not-secret@%s/postgres?sslmode=disable", strings.Join(addresses, ","))
}

// Do runs a statement.
func (s *PostgresServer) Do(statement string) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := s.Try(ctx, statement); err != nil {
		s.tb.Fatalf("%s: %v", statement, err)
	}
}

// Try runs a statement that may fail.
func (s *PostgresServer) Try(ctx context.Context, statement string) error {
	db, err := sql.Open("pgx", s.URL())
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // nothing is lost with it
	_, err = db.ExecContext(ctx, statement)
	return err
}
