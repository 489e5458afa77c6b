package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"
)

// maxStatements kept by one SQLite connection. The program has about a hundred different
// statements, and those of InsertRows come in some ten lengths for each of seven tables.
const maxStatements = 192

// cachingConnector opens SQLite connections that keep their prepared statements.
// Otherwise the driver parses the same text in every call, which is more work than most
// of our statements. (pgx has such a cache itself.)
type cachingConnector struct {
	driver driver.Driver
	name   string
}

// Connect opens one connection.
func (c cachingConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.name)
	if err != nil {
		return nil, err
	}
	inner, ok := conn.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver lacks a method that the statement cache needs"), conn.Close())
	}
	return &cachingConn{sqliteConn: inner, statements: make(map[string]statement)}, nil
}

// Driver returns the wrapped driver.
func (c cachingConnector) Driver() driver.Driver { return c.driver }

// sqliteConn is the part of the driver's connection that database/sql uses.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// cachingConn is used by one goroutine at a time, like every driver.Conn. A statement is
// not in the map while it runs or its rows are open.
type cachingConn struct {
	sqliteConn
	statements map[string]statement
}

func (c *cachingConn) take(ctx context.Context, query string) (statement, error) {
	if s, ok := c.statements[query]; ok {
		delete(c.statements, query)
		return s, nil
	}
	s, err := c.PrepareContext(ctx, orFail(unnamed(query)))
	if err != nil {
		return nil, err
	}
	return s.(statement), nil
}

// unnamed replaces the parameters $1, $2, … by "?" if each occurs once and in this order,
// as in every INSERT. To SQLite "$1" is a name; the driver asks for the name of each
// parameter in each call, and SQLite looks it up in a list: with 2,000 parameters that
// took longer than inserting the rows.
func unnamed(query string) string {
	if strings.ContainsAny(query, "?:@") {
		return query // parameters of another kind
	}
	// After the first quote or comment, a "$" may not be a parameter.
	rest, quoted := query, ""
	for _, opens := range []string{"'", `"`, "`", "[", "--", "/*"} {
		if at := strings.Index(rest, opens); at >= 0 {
			rest, quoted = query[:at], query[at:]
		}
	}
	if strings.Contains(quoted, "$") {
		return query
	}
	var b strings.Builder
	for number := 1; ; number++ {
		before, after, found := strings.Cut(rest, "$")
		b.WriteString(before)
		if !found {
			return b.String() + quoted
		}
		after, found = strings.CutPrefix(after, strconv.Itoa(number))
		if !found || after != "" && after[0] >= '0' && after[0] <= '9' {
			return query
		}
		b.WriteByte('?')
		rest = after
	}
}

// orFail spares an INSERT of several rows the journal by which SQLite undoes those of them
// that came before one that fails: whoever gets an error undoes the transaction, or its own
// savepoint. On PostgreSQL nothing else is possible. An INSERT with DO UPDATE keeps its journal.
func orFail(query string) string {
	if rest, is := strings.CutPrefix(query, "INSERT INTO "); is && strings.Contains(rest, ") VALUES (") {
		return "INSERT OR FAIL INTO " + rest
	}
	return query
}

func (c *cachingConn) giveBack(query string, s statement) error {
	if _, taken := c.statements[query]; taken {
		return s.Close()
	}
	var err error
	if len(c.statements) >= maxStatements {
		for text, old := range c.statements { // any one
			delete(c.statements, text)
			err = old.Close()
			break
		}
	}
	c.statements[query] = s
	return err
}

// ExecContext implements driver.ExecerContext.
func (c *cachingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := s.ExecContext(ctx, args)
	return result, errors.Join(err, c.giveBack(query, s))
}

// QueryContext implements driver.QueryerContext.
func (c *cachingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, c.giveBack(query, s))
	}
	return &cachingRows{rows, func() error { return c.giveBack(query, s) }}, nil
}

// liteTx is a transaction of SQLite. Those of database/sql start a goroutine each, and
// one for each of their queries, to watch for the end of a context.
type liteTx struct {
	*sql.Conn
	ended bool
}

// beginLite begins one. The end of the context does not interrupt BEGIN: a wait for the
// lock ends after busyTimeout.
func beginLite(ctx context.Context, conn *sql.Conn, readOnly bool) (*liteTx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	begin := "BEGIN IMMEDIATE"
	if readOnly {
		begin = "BEGIN"
	}
	_, err := conn.ExecContext(context.WithoutCancel(ctx), begin)
	return &liteTx{Conn: conn}, err
}

// Commit leaves the connection outside a transaction, also if it fails. The end of a
// context does not interrupt it.
func (t *liteTx) Commit() error {
	_, err := t.ExecContext(context.Background(), "COMMIT")
	if err != nil {
		_ = t.Rollback()
	}
	t.ended = true
	return err
}

// Rollback undoes everything, unless the transaction has ended.
func (t *liteTx) Rollback() error {
	if t.ended {
		return sql.ErrTxDone
	}
	t.ended = true
	_, err := t.ExecContext(context.Background(), "ROLLBACK")
	return err
}

// Close closes the statements, then the connection.
func (c *cachingConn) Close() error {
	var err error
	for _, s := range c.statements {
		err = errors.Join(err, s.Close())
	}
	clear(c.statements)
	return errors.Join(err, c.sqliteConn.Close())
}

type cachingRows struct {
	driver.Rows
	giveBack func() error
}

// Close gives the statement back.
func (r *cachingRows) Close() error {
	err := r.Rows.Close()
	if r.giveBack == nil {
		return err
	}
	back := r.giveBack()
	r.giveBack = nil
	return errors.Join(err, back)
}
