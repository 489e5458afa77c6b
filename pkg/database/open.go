package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // registers "sqlite" with database/sql
)

var errScheme = errors.New("--database: expected sqlite:///path or postgres://user:password@host:port/database")

// Open connects to the database that the URL names. It creates a missing SQLite file
// (whose folder must exist).
//
//	sqlite:///abs/path    sqlite://relative/path    postgres://user:password@host:port/database?sslmode=…
//
// SQLite runs in WAL mode with synchronous=FULL: committed data survives a power
// failure. No error of this package contains the URL's password.
func Open(ctx context.Context, rawURL string) (*DB, error) {
	scheme, rest, found := strings.Cut(rawURL, "://")
	var db *DB
	var err error
	switch {
	case found && scheme == "sqlite":
		db, err = openSQLite(ctx, rest)
	case found && (scheme == "postgres" || scheme == "postgresql"):
		db, err = openPostgreSQL(ctx, rawURL)
	default:
		return nil, errScheme
	}
	if err != nil {
		return nil, err
	}
	db.group = db.NewGroup(Hooks{})
	return db, nil
}

func openSQLite(ctx context.Context, escaped string) (*DB, error) {
	path, err := url.PathUnescape(escaped)
	if err != nil || path == "" || strings.ContainsAny(escaped, "?#") || strings.Contains(path, "\x00") {
		return nil, fmt.Errorf("--database: expected sqlite:///path, with ? # and %% percent-encoded and no parameters, not %.200q", "sqlite://"+escaped)
	}
	if path == ":memory:" || strings.HasPrefix(path, "file:") {
		return nil, fmt.Errorf("--database: sqlite needs the path of a file, not %.200q", path)
	}
	// The driver splits at the first "?"; SQLite decodes the rest of a file: URI.
	name := "file:" + (&url.URL{Path: path}).EscapedPath()
	if !strings.HasPrefix(path, "/") {
		name = "file:" + strings.TrimPrefix((&url.URL{Path: path}).EscapedPath(), "./")
	}
	pragmas := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), // first, because the others may have to wait
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}}
	pragmas.Set("_txlock", "immediate")
	writer, err := openCaching(name + "?" + pragmas.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	writer.SetMaxOpenConns(1)
	writer.SetMaxIdleConns(1)
	pragmas.Set("_query_only", "1")
	pragmas.Set("_txlock", "deferred")
	reader, err := openCaching(name + "?" + pragmas.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, errors.Join(err, writer.Close()))
	}
	reader.SetMaxOpenConns(maxReaders)
	reader.SetMaxIdleConns(maxReaders)
	db := &DB{engine: SQLite, write: writer, read: reader, redact: func(err error) error { return err }, gated: new(atomic.Bool)}
	// Switching a new file to WAL fails immediately, whatever the busy timeout, while another process does the same.
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	for n := 1; ; n++ {
		err = errors.Join(writer.PingContext(ctx), reader.PingContext(ctx))
		if err == nil {
			return db, nil
		}
		if !retryable(err) || !retries.Wait(ctx, n) {
			return nil, fmt.Errorf("opening %s: %w", path, errors.Join(err, reader.Close(), writer.Close()))
		}
	}
}

func openCaching(name string) (*sql.DB, error) {
	plain, err := sql.Open("sqlite", name) // only to get its driver
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(cachingConnector{plain.Driver(), name}), plain.Close()
}

func openPostgreSQL(ctx context.Context, rawURL string) (*DB, error) {
	parsed, err := url.Parse(rawURL)
	if err != nil {
		// The parser's error quotes the invalid part, which may be the password.
		return nil, errors.New("--database: this postgres:// URL cannot be parsed: percent-encode special characters of user and password")
	}
	redact := redactor(parsed)
	config, err := pgx.ParseConfig(rawURL)
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner
		}
		return nil, fmt.Errorf("--database: %w", redact(err))
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "artifact-store"
	}
	var gated atomic.Bool
	connector := stdlib.GetConnector(*config, stdlib.OptionAfterConnect(planEach))
	pool := func(connector driver.Connector, size int) *sql.DB {
		db := sql.OpenDB(connector)
		db.SetMaxOpenConns(size)
		db.SetMaxIdleConns(size)
		db.SetConnMaxIdleTime(5 * time.Minute)
		return db
	}
	db := &DB{engine: PostgreSQL, redact: redact, gated: &gated,
		write: pool(connector, maxWriters), read: pool(gatedConnector{connector, &gated}, maxReaders)}
	there, err := db.HasTable(ctx, db.write, "schema_steps")
	if gated.Store(there); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", parsed.Redacted(), redact(errors.Join(err, db.read.Close(), db.write.Close())))
	}
	return db, nil
}

// planEach makes PostgreSQL plan every statement for its actual values: a generic plan
// compares each row with each of hundreds of digests in turn. It is not a connection
// parameter, since poolers refuse parameters that they do not know.
func planEach(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SET plan_cache_mode = force_custom_plan")
	return err
}
