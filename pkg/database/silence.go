package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sys/unix"
)

// A server can go away without a word: its node is lost, packets are dropped, it is
// stopped. The kernel notices a lost node (dialer); a silent program is noticed because
// every wait for it is bounded here.

// dialer has the kernel give up a connection whose other end acknowledges nothing.
var dialer = &net.Dialer{
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
	Control: func(network, _ string, raw syscall.RawConn) error {
		if network == "unix" {
			return nil
		}
		var refused error
		err := raw.Control(func(fd uintptr) {
			refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(commitTimeout.Milliseconds()))
		})
		return errors.Join(err, refused)
	},
}

// silence is shared by all connections of a DB. Once one of them had no answer, those
// that are as old are not used again: each would cost the same wait.
type silence struct{ began atomic.Int64 } // the last one, in Unix nanoseconds

// noticed is called when a server was silent for so long.
func (s *silence) noticed(wait time.Duration) {
	began := time.Now().Add(-wait).UnixNano()
	for old := s.began.Load(); began > old && !s.began.CompareAndSwap(old, began); old = s.began.Load() {
	}
}

// wrap is a pgconn.Config.AfterNetConnect.
func (s *silence) wrap(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
	return &boundedConn{Conn: conn, silence: s, opened: time.Now(), wait: silenceTimeout}, nil
}

// stale reports whether a connection is not to be used again.
func (s *silence) stale(conn *pgx.Conn) bool {
	bounded, ok := conn.PgConn().Conn().(*boundedConn)
	return conn.IsClosed() || ok && bounded.opened.UnixNano() <= s.began.Load()
}

// check asks the server for a sign of life if the connection was idle for a moment.
func (s *silence) check(ctx context.Context, p stdlib.ShouldPingParams) bool {
	if s.stale(p.Conn) || p.IdleDuration < idleCheck {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if p.Conn.Ping(ctx) != nil && context.Cause(ctx) == context.DeadlineExceeded {
		s.noticed(pingTimeout)
	}
	return false // it is asked already; usable closes a connection that did not answer
}

// usable is called before a connection is used again, after check.
func (s *silence) usable(_ context.Context, conn *pgx.Conn) error {
	if !s.stale(conn) {
		return nil
	}
	// A farewell would wait for the server.
	_ = conn.PgConn().Conn().Close()
	return driver.ErrBadConn
}

// boundedConn bounds each wait for the server. pgx sets deadlines when a context ends,
// and these take precedence.
type boundedConn struct {
	net.Conn
	silence *silence
	opened  time.Time

	mu       sync.Mutex
	wait     time.Duration
	deadline time.Time // pgx's, zero for none
}

// errSilent is a net.Error, so that pgx takes the connection for lost.
type errSilent struct{ wait time.Duration }

func (e *errSilent) Error() string   { return fmt.Sprintf("the server did not answer for %s", e.wait) }
func (e *errSilent) Timeout() bool   { return true }
func (e *errSilent) Temporary() bool { return false }

// extend begins another wait.
func (c *boundedConn) extend() (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.deadline.IsZero() {
		return c.wait, nil
	}
	return c.wait, c.Conn.SetDeadline(time.Now().Add(c.wait))
}

// explain turns the end of our own wait into an errSilent.
func (c *boundedConn) explain(err error, wait time.Duration) error {
	timeout, ok := err.(net.Error)
	if !ok || !timeout.Timeout() {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.deadline.IsZero() {
		return err
	}
	c.silence.noticed(wait)
	return &errSilent{wait}
}

// Read implements net.Conn.
func (c *boundedConn) Read(p []byte) (int, error) {
	wait, err := c.extend()
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	return n, c.explain(err, wait)
}

// Write implements net.Conn. It writes in pieces: a large message on a slow line is no silence.
func (c *boundedConn) Write(p []byte) (int, error) {
	written := 0
	for {
		wait, err := c.extend()
		if err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written:min(len(p), written+writePiece)])
		written += n
		if err != nil || written == len(p) {
			return written, c.explain(err, wait)
		}
	}
}

// SetDeadline implements net.Conn. The zero time gives the deadline back to our own bounds.
func (c *boundedConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetDeadline(t)
}

// wait sets how long the server may be silent from the next message on.
func (s *session) wait(longest time.Duration) {
	if bounded, ok := s.Conn().PgConn().Conn().(*boundedConn); ok {
		bounded.mu.Lock()
		defer bounded.mu.Unlock()
		bounded.wait = longest
	}
}
