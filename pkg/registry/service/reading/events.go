package reading

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// ReadEvents implements Events.
func (r *Reader) ReadEvents(ctx context.Context, query registry.EventQuery) (registry.EventPage, error) {
	limit, err := registry.EventPageLimit(query.Limit)
	if err == nil {
		err = query.Validate()
	}
	if err != nil {
		return registry.EventPage{}, err
	}
	head, err := r.core.Head(ctx)
	if err != nil {
		return registry.EventPage{}, err
	}
	if query.After > head.Position {
		return registry.EventPage{}, pastHead(eventlog.ErrPastHead, query.After, head.Position)
	}
	page := registry.EventPage{LogID: head.LogID, Head: head.Position, Position: query.After}
	turn, err := r.describing.Take(ctx, 1)
	if err != nil {
		return registry.EventPage{}, err
	}
	defer turn.Return()
	for scanned := 0; ; {
		// Where everything matches, one reading is a page.
		read := min(limit-len(page.Events), registry.MaxEventScan-scanned)
		if !query.IsEmpty() {
			read = min(registry.MaxEventPage, registry.MaxEventScan-scanned)
		}
		records, err := r.core.ReadLog(ctx, page.Position, eventlog.Page{Records: read, Bytes: pageBytes, Cut: payloadCut})
		if err != nil {
			return registry.EventPage{}, err
		}
		scanned += len(records)
		for _, record := range records {
			if query.Matches(record.Kind, record.Actor, record.Subject, record.Time) {
				if len(page.Events) == limit {
					return page, nil
				}
				described, err := r.describeRecord(ctx, record)
				if err != nil {
					return registry.EventPage{}, err
				}
				page.Events = append(page.Events, described)
			}
			page.Position = record.Position
		}
		page.Head = max(page.Head, page.Position)
		if len(records) == 0 || query.IsEmpty() || len(page.Events) == limit || scanned >= registry.MaxEventScan {
			return page, nil
		}
	}
}

const (
	// pageBytes end a page of events or of packages, before it has as many as were
	// asked for: payload, or texts. What names digests is about twice that in JSON,
	// and each client holds a page until it has read it.
	pageBytes = 256 << 10
	// payloadCut is how much of a payload is read: all of those that are no publication.
	payloadCut = 64 << 10
)

// describeLog reads a page of events: fewer than limit if they are large, but at
// least one if there is any.
func (r *Reader) describeLog(ctx context.Context, after uint64, limit int) ([]registry.Event, error) {
	turn, err := r.describing.Take(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer turn.Return()
	records, err := r.core.ReadLog(ctx, after, eventlog.Page{Records: limit, Bytes: pageBytes, Cut: payloadCut})
	if err != nil {
		return nil, err
	}
	events := make([]registry.Event, len(records))
	for i, rec := range records {
		if events[i], err = r.describeRecord(ctx, rec); err != nil {
			return nil, err
		}
	}
	return events, nil
}

func pastHead(err error, after, head uint64) error {
	if errors.Is(err, eventlog.ErrPastHead) {
		return registry.Invalid("after", "%d is past the head of the log, which is %d", after, head)
	}
	return err
}

func (r *Reader) describeRecord(ctx context.Context, rec eventlog.Record) (registry.Event, error) {
	described, err := r.describePayload(ctx, rec)
	if err != nil {
		return registry.Event{}, err
	}
	data, err := json.Marshal(described)
	return registry.Event{
		Position: rec.Position, Time: rec.Time, Kind: rec.Kind, Actor: rec.Actor, Subject: rec.Subject, Payload: data,
		Hash: digest.New(digest.SHA256, rec.Hash), Previous: digest.New(digest.SHA256, rec.Previous),
	}, err
}

// describePayload describes a record whose payload may be cut. Of a large
// publication the views know what the manifest comes to.
func (r *Reader) describePayload(ctx context.Context, rec eventlog.Record) (any, error) {
	if len(rec.Payload) == payloadCut && rec.Kind == event.KindPackagePublished {
		described, err := r.describePublished(ctx, rec)
		if err == nil || !errors.Is(err, registry.ErrNotFound) {
			return described, err
		}
	}
	if len(rec.Payload) == payloadCut {
		var err error
		if rec, err = r.core.ReadRecord(ctx, rec.Position); err != nil {
			return nil, err
		}
	}
	payload, err := event.Decode(rec.Event)
	if err != nil {
		return nil, err
	}
	return event.Describe(payload)
}

func (r *Reader) describePublished(ctx context.Context, rec eventlog.Record) (any, error) {
	backends, _, err := event.PublishedFront(rec.Payload)
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", rec.Position, err)
	}
	var p view.Package
	if err := r.core.Read(ctx, func(tx database.Tx) (err error) {
		p, err = view.FindPackageAt(ctx, tx, rec.Position)
		return err
	}); err != nil {
		return nil, err
	}
	return event.PackagePublished{
		Producer: p.Producer, Name: p.Name, Version: p.Version, RetentionClass: p.RetentionClass, Tier: p.Tier, Backends: backends,
	}.DescribeAs(p.ManifestDigest, p.Files, p.Bytes), nil
}

// FollowEvents implements Events.
func (r *Reader) FollowEvents(ctx context.Context, query registry.EventQuery, yield func(registry.Event) error) error {
	if err := query.Validate(); err != nil {
		return err
	}
	after := query.After
	if !query.IsEmpty() {
		each := yield
		yield = func(e registry.Event) error {
			if !query.Matches(e.Kind, e.Actor, e.Subject, e.Time) {
				return nil
			}
			return each(e)
		}
	}
	head, err := r.core.Head(ctx)
	if err != nil {
		return err
	}
	if after > head.Position {
		return pastHead(eventlog.ErrPastHead, after, head.Position)
	}
	return pastHead(r.follow(ctx, after, head.Position, yield), after, head.Position)
}

// awayPause is how long a follower waits before it asks an absent database again.
const awayPause = time.Second

// follow takes events from the tail that all who follow share, and from the log
// what the tail does not hold any more.
func (r *Reader) follow(ctx context.Context, after, head uint64, yield func(registry.Event) error) error {
	tail := r.join(head)
	defer r.leave(tail)
	for {
		events, news, behind, err := tail.next(after)
		if behind {
			events, err = r.describeLog(ctx, after, catchUpEvents)
		}
		if errors.Is(err, registry.ErrDatabase) && backoff.Sleep(ctx, awayPause) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := yield(e); err != nil {
				return err
			}
			after = e.Position
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// LogHead implements Events.
func (r *Reader) LogHead(ctx context.Context) (registry.LogHead, error) {
	head, err := r.core.Head(ctx)
	return registry.LogHead{LogID: head.LogID, Position: head.Position}, err
}
