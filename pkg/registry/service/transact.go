package service

import (
	"context"
	"errors"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// read runs fn in one snapshot.
func (s *Service) read(ctx context.Context, fn func(tx database.Tx) error) error {
	return mapError(s.db.Read(ctx, fn))
}

// write runs fn in a transaction of its own.
func (s *Service) write(ctx context.Context, fn func(tx database.Tx) error) error {
	return mapError(s.db.Write(ctx, fn))
}

// group runs fn in a transaction that concurrent calls share.
func (s *Service) group(ctx context.Context, fn func(tx database.Tx) error) error {
	return mapError(s.db.Group(ctx, fn))
}

// append appends what decide returns under the lock of the log's head.
func (s *Service) append(ctx context.Context, decide eventlog.Decide) error {
	_, err := s.log.Append(ctx, decide)
	return mapError(err)
}

func (s *Service) head(ctx context.Context) (eventlog.Head, error) {
	head, err := s.log.Head(ctx)
	return head, mapError(err)
}

// mapError turns what the database, the views and the scratch tables say into
// the contract's errors.
func mapError(err error) error {
	switch {
	case errors.Is(err, view.ErrNotFound), errors.Is(err, upload.ErrNotFound):
		return registry.ErrNotFound
	case errors.Is(err, upload.ErrNotOpen):
		return registry.ErrPublished
	case errors.Is(err, database.ErrUnavailable):
		return &databaseError{registry.ErrDatabase, err}
	case errors.Is(err, database.ErrUnknownOutcome):
		return &databaseError{registry.ErrUnknownOutcome, err}
	}
	return err
}

// databaseError is one of the contract's errors about its database, and the cause.
type databaseError struct{ is, cause error }

func (e *databaseError) Error() string        { return e.cause.Error() }
func (e *databaseError) Unwrap() error        { return e.cause }
func (e *databaseError) Is(target error) bool { return target == e.is }
