package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx" with database/sql
)

// PostgresOption changes how a cluster runs.
type PostgresOption func(*postgresOptions)

type postgresOptions struct{ durable bool }

// Durable leaves fsync on, as in production: commits survive a power cut. It is
// another cluster than that of tests without the option, which is faster.
func Durable() PostgresOption { return func(o *postgresOptions) { o.durable = true } }

// postgres is a running cluster.
type postgres struct {
	folder string
	admin  *sql.DB
	next   atomic.Int64
}

var clusters [2]shared[*postgres] // without and with fsync

// Postgres returns the URL of a fresh database, in a private cluster that
// listens on a Unix socket only. It is dropped when the test ends. Texts sort
// there as English ones and not bytewise, as in most clusters in production.
func Postgres(tb testing.TB, options ...PostgresOption) string {
	tb.Helper()
	var o postgresOptions
	for _, option := range options {
		option(&o)
	}
	which := 0
	if o.durable {
		which = 1
	}
	cluster := clusters[which].get(tb, func() (*postgres, error) { return startPostgres(o.durable) })
	name := fmt.Sprintf("test_%d", cluster.next.Add(1))
	if _, err := cluster.admin.ExecContext(context.Background(), "CREATE DATABASE "+name+" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"); err != nil {
		tb.Fatalf("creating a database: %v\n%s", err, tail(cluster.folder))
	}
	tb.Cleanup(func() {
		if _, err := cluster.admin.ExecContext(context.Background(), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("dropping the test's database: %v", err)
		}
	})
	return cluster.url(name)
}

func (p *postgres) url(database string) string {
	return fmt.Sprintf("postgres://artifactstore:not-secret@/%s?host=%s&sslmode=disable", database, p.folder)
}

func startPostgres(durable bool) (*postgres, error) {
	bin, err := toolFolder("postgresql", "initdb", "postgres")
	if err != nil {
		return nil, err
	}
	credential, err := unprivileged()
	if err != nil {
		return nil, err
	}
	// A socket's path has at most 107 bytes, and another user must get there.
	folder, err := os.MkdirTemp("/tmp", "artifactstore-pg-")
	if err != nil {
		return nil, err
	}
	p := &postgres{folder: folder}
	if err := p.start(bin, credential, durable); err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w\n%s", err, tail(folder))
	}
	return p, nil
}

func (p *postgres) start(bin string, credential *syscall.Credential, durable bool) error {
	data := filepath.Join(p.folder, "data")
	if !durable {
		// In TMPDIR, which may be memory: a database is some 900 files.
		var err error
		if data, err = Folder("pg-data"); err != nil {
			_ = os.RemoveAll(p.folder)
			return err
		}
	}
	if credential != nil {
		for _, folder := range []string{p.folder, data} {
			err := os.Chown(folder, int(credential.Uid), int(credential.Gid))
			if err != nil && !errors.Is(err, os.ErrNotExist) { // initdb makes it
				return err
			}
		}
	}
	if err := initdb(bin, p.folder, data, credential); err != nil {
		_ = os.RemoveAll(p.folder)
		return err
	}
	settings := []string{
		"listen_addresses=", "unix_socket_directories=" + p.folder, "max_connections=300",
		"shared_buffers=64MB", "max_wal_size=1GB", "timezone=UTC",
		// A lost client is noticed while its statement runs.
		"client_connection_check_interval=1s",
	}
	if !durable {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	server := program(filepath.Join(bin, "postgres"), p.folder, credential, "-D", data)
	for _, setting := range settings {
		server.Args = append(server.Args, "-c", setting)
	}
	// SIGQUIT: at once, and its children as well.
	exited, err := serve(server, syscall.SIGQUIT, p.folder)
	if err != nil {
		return err
	}
	if p.admin, err = sql.Open("pgx", p.url("postgres")); err != nil {
		return err
	}
	p.admin.SetMaxOpenConns(2)
	return waitUntil(exited, 60*time.Second, func(ctx context.Context) error { return p.admin.PingContext(ctx) })
}

// initdb makes the files of a cluster.
func initdb(bin, folder, data string, credential *syscall.Credential, more ...string) error {
	command := program(filepath.Join(bin, "initdb"), folder, credential, "--pgdata", data, "--username", "artifactstore",
		"--auth", "trust", "--encoding", "UTF8", "--no-sync", "--no-instructions")
	command.Args = append(command.Args, more...)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output)
	}
	return nil
}

// program is a command that runs as PostgreSQL's user, in its folder.
func program(path, folder string, credential *syscall.Credential, args ...string) *exec.Cmd {
	command := exec.Command(path, args...)
	command.Dir, command.Env = folder, []string{"LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin", "HOME=" + folder, "TZ=UTC"}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	return command
}

// unprivileged is whom to be instead of root, whom PostgreSQL refuses; nil if this is not root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(found.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(found.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

// waitUntil asks again until the server answers, has exited, or takes too long.
func waitUntil(exited <-chan struct{}, patience time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("it has exited: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("no answer after %s: %w", patience, err)
		case <-tick.C:
		}
	}
}
