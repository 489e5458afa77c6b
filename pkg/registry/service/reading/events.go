package reading

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
)

// ReadEvents implements Events.
func (r *Reader) ReadEvents(ctx context.Context, after uint64, limit int) (registry.EventPage, error) {
	limit, err := registry.EventPageLimit(limit)
	if err != nil {
		return registry.EventPage{}, err
	}
	head, err := r.core.Head(ctx)
	if err != nil {
		return registry.EventPage{}, err
	}
	if after > head.Position {
		return registry.EventPage{}, pastHead(eventlog.ErrPastHead, after, head.Position)
	}
	records, err := r.core.ReadLog(ctx, after, limit)
	if err != nil {
		return registry.EventPage{}, err
	}
	page := registry.EventPage{LogID: head.LogID, Head: head.Position, Events: make([]registry.Event, 0, len(records))}
	for _, rec := range records {
		e, err := describeRecord(rec)
		if err != nil {
			return page, err
		}
		page.Events = append(page.Events, e)
		page.Head = max(page.Head, e.Position)
	}
	return page, nil
}

func pastHead(err error, after, head uint64) error {
	if errors.Is(err, eventlog.ErrPastHead) {
		return registry.Invalid("after", "%d is past the head of the log, which is %d", after, head)
	}
	return err
}

func describeRecord(rec eventlog.Record) (registry.Event, error) {
	payload, err := event.Decode(rec.Event)
	if err != nil {
		return registry.Event{}, err
	}
	described, err := event.Describe(payload)
	if err != nil {
		return registry.Event{}, err
	}
	data, err := json.Marshal(described)
	return registry.Event{
		Position: rec.Position, Time: rec.Time, Kind: rec.Kind, Actor: rec.Actor, Subject: rec.Subject, Payload: data,
		Hash: digest.New(digest.SHA256, rec.Hash), Previous: digest.New(digest.SHA256, rec.Previous),
	}, err
}

// FollowEvents implements Events.
func (r *Reader) FollowEvents(ctx context.Context, after uint64, yield func(registry.Event) error) error {
	head, err := r.core.Head(ctx)
	if err != nil {
		return err
	}
	if after > head.Position {
		return pastHead(eventlog.ErrPastHead, after, head.Position)
	}
	err = r.core.Follow(ctx, after, func(rec eventlog.Record) error {
		e, err := describeRecord(rec)
		if err != nil {
			return err
		}
		return yield(e)
	})
	return pastHead(err, after, head.Position)
}

// LogHead implements Events.
func (r *Reader) LogHead(ctx context.Context) (registry.LogHead, error) {
	head, err := r.core.Head(ctx)
	return registry.LogHead{LogID: head.LogID, Position: head.Position}, err
}
