package eventlog

import (
	"context"
	"errors"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
)

// Follow calls yield once for each record after the position, in order, and then for
// each new one, whichever process appends it, until ctx ends or yield fails; it returns
// that error. It waits while the database is unavailable. ErrPastHead.
func (l *Log) Follow(ctx context.Context, after uint64, yield func(Record) error) error {
	return l.FollowCut(ctx, after, 0, yield)
}

// FollowCut is Follow with payloads that are cut, as by Page.Cut.
func (l *Log) FollowCut(ctx context.Context, after uint64, cut int, yield func(Record) error) error {
	idle := 0 // consecutive polls that found nothing
	for {
		grown := l.growth() // before the page is read, so that no append is missed
		records, err := l.ReadPage(ctx, after, Page{Records: MaxPage, Bytes: followPageBytes, Cut: cut})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, database.ErrUnavailable) {
			return err
		}
		for _, record := range records {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := yield(record); err != nil {
				return err
			}
			after = record.Position
		}
		if len(records) > 0 {
			idle = 0
			continue
		}
		timer := time.NewTimer(polls.Delay(idle+1, 1))
		select {
		case <-grown:
		case <-timer.C:
			idle++
		case <-ctx.Done():
		}
		timer.Stop()
	}
}
