// Package prepared opens SQLite databases whose connections keep their prepared statements.
package prepared

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // registers "sqlite" with database/sql
)

// maxStatements kept by one SQLite connection. The program has about a hundred different
// statements, and those of InsertRows come in some ten lengths for each of seven tables.
const maxStatements = 192

// Open returns a pool of connections to the database of that name, with parameters for the
// driver. It opens none yet.
func Open(name string) (*sql.DB, error) {
	plain, err := sql.Open("sqlite", name) // only to get its driver
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{plain.Driver(), name}), plain.Close()
}

// connector opens connections that keep their prepared statements. Otherwise the driver parses the same text in every call, which is more work than most
// of our statements. (pgx has such a cache itself.)
type connector struct {
	driver driver.Driver
	name   string
}

// Connect opens one connection.
func (c connector) Connect(context.Context) (driver.Conn, error) {
	opened, err := c.driver.Open(c.name)
	if err != nil {
		return nil, err
	}
	inner, ok := opened.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver lacks a method that the statement cache needs"), opened.Close())
	}
	return &conn{sqliteConn: inner, statements: make(map[string]statement)}, nil
}

// Driver returns the wrapped driver.
func (c connector) Driver() driver.Driver { return c.driver }

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

// conn is used by one goroutine at a time, like every driver.Conn. A statement is
// not in the map while it runs or its rows are open.
type conn struct {
	sqliteConn
	statements map[string]statement
}

func (c *conn) take(ctx context.Context, query string) (statement, error) {
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

func (c *conn) giveBack(query string, s statement) error {
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
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := s.ExecContext(ctx, args)
	return result, errors.Join(err, c.giveBack(query, s))
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	found, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, c.giveBack(query, s))
	}
	return &rows{found, func() error { return c.giveBack(query, s) }}, nil
}

// Close closes the statements, then the connection.
func (c *conn) Close() error {
	var err error
	for _, s := range c.statements {
		err = errors.Join(err, s.Close())
	}
	clear(c.statements)
	return errors.Join(err, c.sqliteConn.Close())
}

type rows struct {
	driver.Rows
	giveBack func() error
}

// Close gives the statement back.
func (r *rows) Close() error {
	err := r.Rows.Close()
	if r.giveBack == nil {
		return err
	}
	back := r.giveBack()
	r.giveBack = nil
	return errors.Join(err, back)
}
