// Package moving has connections of which a write ends that does not move: a server that
// has stopped reading would hold it for ever.
package moving

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// conn is a connection of which a write that does not move ends. A file that the
// kernel sends is handed to it in pieces, so that each of them has its own deadline.
type conn struct {
	*net.TCPConn
	limit   time.Duration
	stopped func(limit time.Duration) error
}

// pieceSent is how much of a file must move within the limit, in bytes.
const pieceSent = 1 << 20

func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.TCPConn.Write(p)
	return n, c.stalled(err)
}

// stalled says in words that the deadline has passed.
func (c *conn) stalled(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.stopped(c.limit)
	}
	return err
}

// ReadFrom implements io.ReaderFrom. It unwraps one io.LimitedReader, as net.TCPConn
// does, which would see two of them otherwise.
func (c *conn) ReadFrom(from io.Reader) (sent int64, err error) {
	limited, is := from.(*io.LimitedReader)
	if !is {
		limited = &io.LimitedReader{R: from, N: 1<<63 - 1}
	}
	for limited.N > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
			return sent, err
		}
		piece := &io.LimitedReader{R: limited.R, N: min(limited.N, pieceSent)}
		asked := piece.N
		n, err := c.TCPConn.ReadFrom(piece)
		sent += n
		limited.N -= n
		if err != nil || n < asked {
			return sent, c.stalled(err)
		}
	}
	return sent, nil
}

// Dial returns a function that makes such connections by dial, or net.Dialer's without one.
// stopped makes the error of a write that has not moved for the limit; 0 is no limit.
func Dial(limit time.Duration, stopped func(limit time.Duration) error, dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		made, err := dial(ctx, network, address)
		if tcp, is := made.(*net.TCPConn); is && err == nil && limit > 0 {
			return &conn{tcp, limit, stopped}, nil
		}
		return made, err
	}
}

var _ io.ReaderFrom = (*conn)(nil)
