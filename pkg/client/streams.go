package client

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
)

const (
	// maxStreamLine bounds one line of a stream, in bytes: an event of 10,000 locations is about 3 MB.
	maxStreamLine = 64 << 20
	// streamSilence is how long a stream may be silent: three heartbeats were lost.
	streamSilence = 3*wire.Heartbeat + wire.Heartbeat/2
	// reconnects after which FollowEvents gives up, if it never had a stream.
	reconnects = 5
	// settled is how long a stream lasts that was no failure.
	settled = 10 * time.Second
)

// ReadEvents implements registry.Events.
func (c *Client) ReadEvents(ctx context.Context, query registry.EventQuery) (answer registry.EventPage, err error) {
	if query.Limit < 0 {
		return answer, registry.Invalid("limit", "must not be negative, is %d", query.Limit)
	}
	if err := query.Validate(); err != nil {
		return answer, err
	}
	values := wire.EventValues(query)
	if query.Limit != 0 {
		values.Set("limit", strconv.Itoa(query.Limit))
	}
	err = c.ask(ctx, call{method: http.MethodGet, path: "/v1/events", query: values, repeat: true}, nil, &answer)
	if n := len(answer.Events); n > 0 { // an older server does not tell
		answer.Position = max(answer.Position, answer.Events[n-1].Position)
	}
	return answer, err
}

// LogHead implements registry.Events.
func (c *Client) LogHead(ctx context.Context) (registry.LogHead, error) {
	page, err := c.ReadEvents(ctx, registry.EventQuery{Limit: 1})
	return registry.LogHead{LogID: page.LogID, Position: page.Head}, err
}

// FollowEvents implements registry.Events. An interrupted stream is resumed
// after the last event, so yield gets each event once. Once there was a stream,
// only ctx, yield and a refusal of the server (4xx, but for 429) end it.
func (c *Client) FollowEvents(ctx context.Context, query registry.EventQuery, yield func(registry.Event) error) error {
	if err := query.Validate(); err != nil {
		return err
	}
	stream, attempts := &eventStream{client: c, filter: query.EventFilter, after: query.After, yield: yield}, c.patience.Begin()
	for failures := 0; ; {
		seen, began := stream.after, time.Now()
		err := stream.run(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case stream.refused != nil:
			return stream.refused
		case stream.ends(err):
			return err
		case stream.after > seen, time.Since(began) > settled:
			failures = 0
		case !stream.begun && c.patience.For > 0:
			if attempts.Again(ctx, err) {
				continue
			}
			return cmp.Or(ctx.Err(), fmt.Errorf("following events after %d: %w", stream.after, err))
		default:
			if failures++; failures == reconnects && !stream.begun {
				return fmt.Errorf("following events after %d: %w", stream.after, err)
			}
		}
		delay := retries.Delay(failures+1, rand.Float64()) //nolint:gosec // spreads load
		if c.patience.Waiting != nil && failures > 0 {
			c.patience.Waiting(Wait{Cause: err, Delay: delay, Left: -1})
		}
		if !backoff.Sleep(ctx, delay) {
			return ctx.Err()
		}
	}
}

// ends reports whether an error is a refusal that does not pass. A router whose pods are
// being replaced answers 404.
func (s *eventStream) ends(err error) bool {
	remote, is := errors.AsType[*RemoteError](err)
	if !is {
		return errors.Is(err, registry.ErrInvalid)
	}
	away := s.begun && remote.Status == http.StatusNotFound && remote.Type == ""
	return remote.Status < http.StatusInternalServerError && !IsTemporary(err) && !away
}

// eventStream reads server-sent events. For one goroutine.
type eventStream struct {
	client  *Client
	filter  registry.EventFilter
	after   uint64
	cursor  string // how far the log was looked at, "" before the first event or position
	yield   func(registry.Event) error
	refused error // what yield returned
	begun   bool  // there was a stream
}

// run reads one connection to its end.
func (s *eventStream) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	get := call{method: http.MethodGet, path: "/v1/events", header: http.Header{"Accept": {"text/event-stream"}}, endless: true}
	get.query = wire.EventValues(registry.EventQuery{After: s.after, EventFilter: s.filter})
	if s.cursor != "" {
		get.header.Set("Last-Event-Id", s.cursor)
	}
	response, err := s.client.do(ctx, get)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		return fmt.Errorf("the answer is %.100q, not a stream of events: it comes from a proxy", kind)
	}
	s.begun = true
	silence := time.AfterFunc(streamSilence, func() { cancel(errors.New("the event stream timed out")) })
	defer silence.Stop()

	lines := bufio.NewReaderSize(response.Body, 64<<10)
	var id string
	var data []byte
	for {
		line, err := readLine(lines)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return err
		}
		silence.Reset(streamSilence)
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0:
			switch {
			case len(data) > 0:
				if err := s.deliver(id, data); err != nil {
					return err
				}
			case id != "": // of a filtered stream: nothing matched until there
				s.cursor = id
			}
			id, data = "", nil
		case string(name) == "id":
			id = string(value)
		case string(name) == "data":
			data = append(data, value...)
		}
	}
}

func (s *eventStream) deliver(id string, data []byte) error {
	var event registry.Event
	if err := json.Unmarshal(data, &event); err != nil {
		return fmt.Errorf("reading event %q: %w", id, err)
	}
	s.refused = s.yield(event)
	if s.refused == nil {
		s.after, s.cursor = event.Position, id
	}
	return s.refused
}

// readLine returns a line without its end. The slice is valid until the next call.
func readLine(lines *bufio.Reader) ([]byte, error) {
	line, err := lines.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = lines.ReadSlice('\n')
			if long = append(long, line...); len(long) > maxStreamLine {
				return nil, fmt.Errorf("a line of the stream is longer than %d bytes", maxStreamLine)
			}
		}
		line = long
	}
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // a stream ends only by an interruption
		}
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}
