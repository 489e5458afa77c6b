package client

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
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

func stoppedReading(limit time.Duration) error {
	return &timeoutError{"the server " + readsNothing + " for " + limit.String()}
}
