package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

func openPostgreSQL(ctx context.Context, rawURL string) (*DB, error) {
	parsed, err := parseURL(rawURL)
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
	setDefaults(config, parsed.Query())
	db := &DB{engine: PostgreSQL, redact: redact, gated: new(atomic.Bool)}
	reads, writes := config.Copy(), config.Copy()
	if !parsed.Query().Has("target_session_attrs") && config.ValidateConnect == nil {
		// A database that its operator made read-only can still be read.
		reads.ValidateConnect = db.sameHistory(notStandby)
		writes.ValidateConnect = db.sameHistory(takesWrites)
	}
	db.read = pool(newHosts(reads, &db.silence), db.beginRead, maxReaders)
	db.write = pool(newHosts(writes, &db.silence), beginWrite, maxWriters)
	there, err := db.HasTable(ctx, db.write, "schema_steps")
	if db.gated.Store(there); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", parsed.Redacted(), redact(errors.Join(err, db.read.Close(), db.write.Close())))
	}
	return db, nil
}

// parseURL parses a URL that may have several hosts with ports, which net/url refuses.
func parseURL(rawURL string) (*url.URL, error) {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	hosts := rest[at:end]
	if !strings.Contains(hosts, ",") {
		return url.Parse(rawURL)
	}
	parsed, err := url.Parse(scheme + "://" + rest[:at] + "hosts" + rest[end:])
	if err == nil {
		parsed.Host = hosts
	}
	return parsed, err
}

// setDefaults sets what the URL leaves open.
func setDefaults(config *pgx.ConnConfig, query url.Values) {
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "artifact-store"
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	config.DialFunc = dialer.DialContext
	if !query.Has("default_query_exec_mode") {
		// A prepared statement is of a server's session. Behind a pooler that lends a
		// session for one transaction the next statement may find another session.
		config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
}

// notStandby refuses a server whose data may be old.
func notStandby(ctx context.Context, conn *pgconn.PgConn) error {
	results, err := conn.Exec(ctx, "SELECT pg_is_in_recovery()").ReadAll()
	if err == nil && string(results[0].Rows[0][0]) == "t" {
		return errStandby
	}
	return err
}

// takesWrites refuses a server that takes none now.
func takesWrites(ctx context.Context, conn *pgconn.PgConn) error {
	err := pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, conn)
	if errors.Is(err, pgconn.ErrReadOnlyConnection) && notStandby(ctx, conn) == nil {
		return fmt.Errorf("%w: %w", errReadOnlyPrimary, err)
	}
	return err
}

var (
	errReadOnlyPrimary = errors.New("it is a primary that is read-only")

	errStandby  = errors.New("it is a standby")
	errOldCopy  = errors.New("it is on an older timeline than the server that was used before")
	errOther    = errors.New("it is another cluster, on an older timeline than the one that was used before")
	askTimeline = "SELECT pg_walfile_name(pg_current_wal_lsn())" // whose first 8 hex digits it is
	askCluster  = "SELECT system_identifier FROM pg_control_system()"
)

// isCause reports whether a server's refusal says more than that another host is silent.
func isCause(err error) bool {
	return errors.Is(err, errOldCopy) || errors.Is(err, errOther) || errors.Is(err, errReadOnlyPrimary)
}

// history is what a server says of its own.
type history struct {
	timeline int64
	cluster  string // the same for all copies of one; "" if the server does not tell
}

// sameHistory is validate, and refuses a server that was the primary before another one
// was promoted: what it takes is lost. Once a newer timeline is seen, connections that
// are older are not used again. Another cluster on an older timeline may be the one that
// pg_upgrade made or the one that it left, so it is refused, too.
func (db *DB) sameHistory(validate pgconn.ValidateConnectFunc) pgconn.ValidateConnectFunc {
	return func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := validate(ctx, conn); err != nil {
			return err
		}
		results, err := conn.Exec(ctx, askTimeline).ReadAll()
		if pgCode(err) != "" {
			return nil // a service that does not tell
		}
		if err != nil {
			return err
		}
		var now history
		if now.timeline, err = strconv.ParseInt(string(results[0].Rows[0][0][:8]), 16, 64); err != nil {
			return err
		}
		if results, err = conn.Exec(ctx, askCluster).ReadAll(); err == nil {
			now.cluster = string(results[0].Rows[0][0])
		} else if pgCode(err) == "" {
			return err
		}
		for {
			before := db.newest.Load()
			switch {
			case before != nil && before.timeline > now.timeline && before.cluster != now.cluster:
				return errOther
			case before != nil && before.timeline > now.timeline:
				return errOldCopy
			}
			if db.newest.CompareAndSwap(before, &now) {
				if before != nil && before.timeline < now.timeline {
					db.silence.noticed(0)
				}
				return nil
			}
		}
	}
}

// hosts opens connections to one of several servers: first to the one that
// answered last, so that a silent one costs connectTimeout once and not each time.
type hosts struct {
	each []driver.Connector
	last atomic.Int64 // an index of each
}

// newHosts returns the connector of a configuration.
func newHosts(config *pgx.ConnConfig, s *silence) *hosts {
	h := &hosts{}
	var previous *pgx.ConnConfig
	// A host is there twice if TLS is optional.
	all := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	for _, way := range all {
		if previous != nil && previous.Host == way.Host && previous.Port == way.Port {
			previous.Fallbacks = append(previous.Fallbacks, way)
			continue
		}
		previous = config.Copy()
		previous.Host, previous.Port, previous.TLSConfig, previous.Fallbacks = way.Host, way.Port, way.TLSConfig, nil
		previous.AfterNetConnect = s.wrap
		h.each = append(h.each, &server{config: previous, silence: s})
	}
	return h
}

// server opens connections to one server.
type server struct {
	config  *pgx.ConnConfig
	silence *silence
}

// Connect opens one connection.
func (s *server) Connect(ctx context.Context) (driver.Conn, error) {
	return stdlib.GetConnector(*s.config, stdlib.OptionShouldPing(s.silence.check), stdlib.OptionResetSession(s.silence.usable)).Connect(ctx)
}

// Driver implements driver.Connector.
func (s *server) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// Connect opens one connection.
func (h *hosts) Connect(ctx context.Context) (driver.Conn, error) {
	first := h.last.Load()
	var failures []error
	for n := range int64(len(h.each)) {
		index := (first + n) % int64(len(h.each))
		conn, err := h.each[index].Connect(ctx)
		if err == nil {
			h.last.Store(index)
			return conn, nil
		}
		failures = append(failures, err)
	}
	// A host that does not answer is the cause, whatever a standby beside it says.
	for i, err := range failures {
		if len(failures) > 1 && !errors.Is(err, pgconn.ErrReadOnlyConnection) && !slices.ContainsFunc(failures, isCause) {
			return nil, fmt.Errorf("%w; %v", err, errors.Join(slices.Delete(failures, i, i+1)...)) //nolint:errorlint // see above
		}
	}
	return nil, errors.Join(failures...)
}

// Driver implements driver.Connector.
func (h *hosts) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// pool returns connections whose transactions begin with begin's text.
func pool(connector driver.Connector, begin func(ctx context.Context) string, size int) *sql.DB {
	db := sql.OpenDB(&sessionConnector{connector, begin})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// A transaction begins with one message, which sets what it needs for itself alone.
// Nothing is set for a session: behind a pooler that is another client's next.
//
// A plan is made for the actual values: a generic plan compares each row with each of
// hundreds of digests in turn.
const planEach = "SET LOCAL plan_cache_mode = force_custom_plan"

// beginWrite makes the answer to COMMIT mean that the changes are durable, also where the
// database has synchronous_commit=off (a stricter value stays). A client that is gone
// without a word, or stopped, holds its locks no longer than idleInTransaction.
func beginWrite(ctx context.Context) string {
	text := fmt.Sprintf(`BEGIN; %s; SET LOCAL idle_in_transaction_session_timeout = %d;
		SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'`,
		planEach, idleInTransaction.Milliseconds())
	if !isPatient(ctx) {
		text += fmt.Sprintf("; SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds())
	}
	return text
}

// beginRead takes no snapshot before it has the lock that HoldReads waits for. A new
// database has no table to lock yet.
func (db *DB) beginRead(context.Context) string {
	text := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " + planEach
	if db.gated.Load() {
		text += "; LOCK TABLE schema_steps IN ACCESS SHARE MODE"
	}
	return text
}

// sessionConnector opens PostgreSQL connections whose transactions begin with a text of ours.
type sessionConnector struct {
	driver.Connector
	begin func(ctx context.Context) string
}

// Connect opens one connection.
func (c *sessionConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	inner, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, errors.Join(errors.New("the PostgreSQL driver has a connection of another type"), conn.Close())
	}
	return &session{inner, c.begin}, nil
}

type session struct {
	*stdlibConn
	begin func(ctx context.Context) string
}

// stdlibConn is embedded under this name: a field named Conn would hide its method.
type stdlibConn = stdlib.Conn

// BeginTx implements driver.ConnBeginTx.
func (s *session) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	if s.Conn().IsClosed() {
		return nil, driver.ErrBadConn
	}
	s.wait(silenceTimeout)
	if isPatient(ctx) {
		s.wait(patientTimeout)
	}
	tx, err := s.Conn().BeginTx(ctx, pgx.TxOptions{BeginQuery: s.begin(ctx)})
	if err != nil {
		return nil, err
	}
	return sessionTx{ctx, s, tx}, nil
}

type sessionTx struct {
	ctx context.Context
	*session
	tx pgx.Tx
}

// Commit implements driver.Tx. Its outcome is worth a longer wait than a statement.
func (t sessionTx) Commit() error {
	t.wait(commitTimeout)
	defer t.wait(silenceTimeout)
	return t.tx.Commit(t.ctx)
}

// Rollback implements driver.Tx.
func (t sessionTx) Rollback() error {
	defer t.wait(silenceTimeout)
	return t.tx.Rollback(t.ctx)
}
