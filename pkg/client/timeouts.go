package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"time"
)

// Defaults of Options.AnswerTimeout and Options.StallTimeout. What a server does before
// the first byte of an answer may take minutes where it stores: a large file is joined
// and synced, or a package is copied from another backend.
const (
	defaultAnswerTimeout = time.Minute
	defaultStallTimeout  = time.Minute
	// storingFactor is how much longer than others a call that stores may take to be answered.
	storingFactor = 10
)

const (
	saysNothing  = "accepted the request and has said nothing"
	readsNothing = "has stopped reading the request"
	sendsNothing = "has stopped sending"
)

// timed sends a request, and ends it if the server does not answer or stops. The
// answer's body must be closed. An endless answer may pause for as long as it likes.
func (c *Client) timed(request *http.Request, endless bool) (*http.Response, error) {
	limit, stall := c.answerTimeout, c.stallTimeout
	if request.Method != http.MethodGet && request.Method != http.MethodHead {
		limit *= storingFactor
	}
	if endless {
		stall = 0
	}
	ctx, quiet := newSilence(request.Context())
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// With Expect: 100-continue the server first says that it wants the body, or
		// the transport sends it after a moment.
		WroteRequest:         func(httptrace.WroteRequestInfo) { quiet.await(limit, saysNothing) },
		GotFirstResponseByte: quiet.calm,
	})
	request = request.WithContext(ctx)
	if _, direct := request.Body.(keptOpen); request.Body != nil && request.Body != http.NoBody && (!direct || request.URL.Scheme == "https") {
		request.Body = &watchedBody{request.Body, quiet, stall}
	}
	response, err := c.http.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		quiet.end()
		return nil, err
	}
	quiet.answered()
	response.Body = &watchedAnswer{response.Body, ctx, quiet, stall}
	return response, nil
}

// watchedBody notices that what was read of a request's body is not taken. It does not
// count while it waits for its own source.
type watchedBody struct {
	io.ReadCloser
	quiet *silence
	limit time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.quiet.calm()
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		b.quiet.await(b.limit, readsNothing)
	}
	return n, err
}

// watchedAnswer notices an answer that stops. It counts only while somebody reads.
type watchedAnswer struct {
	io.ReadCloser
	ctx   context.Context
	quiet *silence
	limit time.Duration
}

func (a *watchedAnswer) Read(p []byte) (int, error) {
	a.quiet.watch(a.limit, sendsNothing)
	n, err := a.ReadCloser.Read(p)
	a.quiet.calm()
	if err != nil && err != io.EOF {
		if cause := context.Cause(a.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (a *watchedAnswer) Close() error {
	err := a.ReadCloser.Close()
	a.quiet.end()
	return err
}

// movingConn is a connection of which a write that does not move ends. A file that the
// kernel sends is handed to it in pieces, so that each of them has its own deadline.
type movingConn struct {
	*net.TCPConn
	limit time.Duration
}

// pieceSent is how much of a file must move within the limit, in bytes.
const pieceSent = 1 << 20

func (c *movingConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.TCPConn.Write(p)
	return n, c.stalled(err)
}

// stalled says in words that the deadline has passed.
func (c *movingConn) stalled(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &timeoutError{"the server " + readsNothing + " for " + c.limit.String()}
	}
	return err
}

// ReadFrom implements io.ReaderFrom. It unwraps one io.LimitedReader, as net.TCPConn
// does, which would see two of them otherwise.
func (c *movingConn) ReadFrom(from io.Reader) (sent int64, err error) {
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

// dialMoving makes the connections of a transport of the client's own.
func dialMoving(limit time.Duration, dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if tcp, is := conn.(*net.TCPConn); is && err == nil && limit > 0 {
			return &movingConn{tcp, limit}, nil
		}
		return conn, err
	}
}

var _ io.ReaderFrom = (*movingConn)(nil)
