package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
)

// getEvents answers with a page, or with a live stream if Accept is text/event-stream.
func (h *handler) getEvents(w *serving.Writer, r *http.Request) error {
	query := r.URL.Query()
	after, err := wire.QueryUint(query, "after", 0, math.MaxInt64)
	if err != nil {
		return err
	}
	filter, err := wire.ParseEventFilter(query)
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept")
	if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		if query.Has("limit") {
			return registry.Invalid("limit", "is for pages: a stream has no end")
		}
		return h.streamEvents(w, r, after, filter)
	}
	if r.Header.Get("Last-Event-ID") != "" {
		return registry.Invalid("Last-Event-ID", "is for streams (Accept: text/event-stream): a page takes after")
	}
	limit, err := wire.QueryUint(query, "limit", registry.DefaultEventPage, registry.MaxEventPage)
	if err != nil {
		return err
	}
	leave, err := h.held.Enter(w, r)
	if err != nil {
		return err
	}
	defer leave()
	page, err := h.registry.ReadEvents(r.Context(), registry.EventQuery{After: after, Limit: int(limit), EventFilter: filter})
	if err != nil {
		return err
	}
	if page.Events == nil {
		page.Events = []registry.Event{}
	}
	return sendJSON(w, http.StatusOK, page)
}

// streamEvents sends server-sent events (WHATWG HTML, section 9.2): id is the
// cursor, event the kind, data the Event as JSON. A request is refused before
// the stream begins, since there is no status afterwards. A database that is away
// is no refusal: at a 503 a browser would give up for good.
func (h *handler) streamEvents(w *serving.Writer, r *http.Request, after uint64, filter registry.EventFilter) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.opts.Context, cancel)()
	head, err := h.registry.LogHead(r.Context())
	if errors.Is(err, registry.ErrDatabase) && h.opts.Context.Err() == nil {
		beginStream(w)
		head, err = h.awaitHead(ctx, w)
	}
	if err != nil {
		return err
	}
	field := "after"
	if cursor := r.Header.Get("Last-Event-ID"); cursor != "" {
		field = "Last-Event-ID"
		if after, err = h.resolveCursor(r.Context(), cursor, head); err != nil {
			return err
		}
	}
	if after > head.Position {
		return registry.Invalid(field, "position %d is past the head of the log, %d", after, head.Position)
	}
	if h.opts.Context.Err() != nil {
		return problemStopping.problem("")
	}
	events, done := make(chan registry.Event), make(chan error, 1)
	go func() {
		done <- h.registry.FollowEvents(ctx, registry.EventQuery{After: after}, func(event registry.Event) error {
			select {
			case events <- event:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	if !w.Begun() {
		beginStream(w)
	}
	err = h.writeEvents(ctx, w, head.LogID, filter, events, done)
	cancel()
	if ctx.Err() != nil && (r.Context().Err() != nil || h.opts.Context.Err() != nil) || accessEnded(err) {
		return nil // the regular ends of a stream: the client left or lost its access, or the server stops
	}
	return err
}

func beginStream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the stream back
	w.WriteHeader(http.StatusOK)
}

// awaitHead sends comments until the database answers, or the client or server leaves.
func (h *handler) awaitHead(ctx context.Context, w *serving.Writer) (registry.LogHead, error) {
	for {
		io.WriteString(w, ": the database does not answer\n\n") //nolint:errcheck // ctx ends with the client
		w.Flush()
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return registry.LogHead{}, ctx.Err()
		}
		head, err := h.registry.LogHead(ctx)
		if !errors.Is(err, registry.ErrDatabase) {
			return head, err
		}
	}
}

// accessEnded reports whether a stream's client has lost its access. Its next request tells it why.
func accessEnded(err error) bool {
	return errors.Is(err, access.ErrUnauthenticated) || errors.Is(err, access.ErrForbidden) || errors.Is(err, access.ErrUnavailable)
}

func (h *handler) writeEvents(ctx context.Context, w *serving.Writer, logID string, filter registry.EventFilter, events <-chan registry.Event, done <-chan error) error {
	beat := time.NewTicker(wire.Heartbeat)
	defer beat.Stop()
	w.Flush()
	passed := "" // the cursor of the last event that did not match, if none has matched since
	for {
		select {
		case event := <-events:
			if !filter.Matches(event.Kind, event.Actor, event.Subject, event.Time) {
				passed = formatCursor(logID, event)
				continue
			}
			passed = ""
			if err := writeEvent(w, logID, event); err != nil {
				return err
			}
			w.Flush()
		case <-beat.C:
			if err := h.gate.StillKnown(ctx); err != nil {
				return err
			}
			alive := ": alive\n\n"
			if passed != "" { // without data it is no event, and the next connection begins there (section 9.2.6)
				alive, passed = "id: "+passed+"\n\n", ""
			}
			if _, err := io.WriteString(w, alive); err != nil {
				return err
			}
			w.Flush()
		case err := <-done:
			return err
		}
	}
}

func writeEvent(w io.Writer, logID string, event registry.Event) error {
	data, err := event.JSON()
	if err != nil {
		return fmt.Errorf("encoding event %d: %w", event.Position, err)
	}
	_, err = fmt.Fprintf(w, "id: %s\nevent: %s\ndata: %s\n\n", formatCursor(logID, event), event.Kind, data)
	return err
}

// A cursor is <log id>:<position>:<the first digits of the record's hash>, so that a
// cursor of another log is refused, and one of a log that was restored from an older copy
// and has other events since. Cursors of earlier versions end with the position.
func formatCursor(logID string, event registry.Event) string {
	return fmt.Sprintf("%s:%d:%.16s", logID, event.Position, event.Hash.Hex())
}

// resolveCursor returns the position of a cursor of this log.
func (h *handler) resolveCursor(ctx context.Context, cursor string, head registry.LogHead) (uint64, error) {
	const field = "Last-Event-ID"
	id, rest, _ := strings.Cut(cursor, ":")
	digits, hash, hashed := strings.Cut(rest, ":")
	position, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, registry.Invalid(field, "%.120q is not <log id>:<position>:<hash>", cursor)
	}
	if id != head.LogID {
		return 0, registry.Invalid(field, "is a cursor of another log, not of %s", head.LogID)
	}
	if !hashed || position > head.Position {
		return position, nil
	}
	page, err := h.registry.ReadEvents(ctx, registry.EventQuery{After: max(position, 1) - 1, Limit: 1})
	if err != nil {
		return 0, err
	}
	if position == 0 || len(page.Events) == 0 || hash == "" || !strings.HasPrefix(page.Events[0].Hash.Hex(), hash) {
		return 0, registry.Invalid(field, "is a cursor of another history of this log: event %d is not the same; read the log again from an event that you trust", position)
	}
	return position, nil
}
