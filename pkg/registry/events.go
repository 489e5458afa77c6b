package registry

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/event"
)

// ReadEvents implements Events.
func (s *Service) ReadEvents(ctx context.Context, after uint64, limit int) (EventPage, error) {
	limit, err := pageLimit(limit, DefaultEventPage, MaxEventPage)
	if err != nil {
		return EventPage{}, err
	}
	head, err := s.log.Head(ctx)
	if err != nil {
		return EventPage{}, err
	}
	if after > head.Position {
		return EventPage{}, pastHead(eventlog.ErrPastHead, after, head.Position)
	}
	records, err := s.log.Read(ctx, after, limit)
	if err != nil {
		return EventPage{}, err
	}
	page := EventPage{LogID: head.LogID, Head: head.Position, Events: make([]Event, 0, len(records))}
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
		return Invalid("after", "%d is past the head of the log, which is %d", after, head)
	}
	return err
}

func describeRecord(rec eventlog.Record) (Event, error) {
	payload, err := event.Decode(rec.Event)
	if err != nil {
		return Event{}, err
	}
	described, err := event.Describe(payload)
	if err != nil {
		return Event{}, err
	}
	data, err := json.Marshal(described)
	return Event{
		Position: rec.Position, Time: rec.Time, Kind: rec.Kind, Actor: rec.Actor, Subject: rec.Subject, Payload: data,
		Hash: digest.New(digest.SHA256, rec.Hash), Previous: digest.New(digest.SHA256, rec.Previous),
	}, err
}

// FollowEvents implements Events.
func (s *Service) FollowEvents(ctx context.Context, after uint64, yield func(Event) error) error {
	head, err := s.log.Head(ctx)
	if err != nil {
		return err
	}
	if after > head.Position {
		return pastHead(eventlog.ErrPastHead, after, head.Position)
	}
	err = s.log.Follow(ctx, after, func(rec eventlog.Record) error {
		e, err := describeRecord(rec)
		if err != nil {
			return err
		}
		return yield(e)
	})
	return pastHead(err, after, head.Position)
}

// LogHead implements Events.
func (s *Service) LogHead(ctx context.Context) (LogHead, error) {
	head, err := s.log.Head(ctx)
	return LogHead{LogID: head.LogID, Position: head.Position}, err
}
