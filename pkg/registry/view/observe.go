package view

import (
	"context"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// The columns checked and checked_us of storage_locations, and with them unchecked of
// location_counts, are no fold of the log alone: the log grows with what happened, not with how often somebody looked. A
// location that is found as it was is an observation, which Observe writes and
// no event names. So these columns are at least what a replay gives, which is
// what Check holds them to, and Rebuild takes them over from the old tables. One
// that is lost costs nothing: the blob is the first to be read again.

// Observe notes that something was found of these locations of a backend, at a
// position of the log and a time. It is called under the head's lock: findings
// are judged by what is noted here, and an exchange of the tables must not miss any.
func Observe(ctx context.Context, tx database.Tx, backendID string, digests []digest.Digest, position uint64, at time.Time) error {
	version, err := Version(ctx, tx)
	if err != nil {
		return err
	}
	return inChunks(digests, func(chunk []digest.Digest) error {
		if version >= fold.Counted {
			args := []any{backendID}
			for _, d := range chunk {
				args = append(args, d.Bytes())
			}
			first, err := fold.CountFirst(ctx, tx, fold.Names{}, "storage_locations n", "n.backend_id = $1 AND n.sha256 IN ("+database.Parameters(2, len(chunk))+")", args...)
			if err != nil {
				return err
			}
			if err := first.Write(ctx, tx, fold.Names{}); err != nil {
				return err
			}
		}
		args := []any{position, micros(at), backendID}
		for _, d := range chunk {
			args = append(args, d.Bytes())
		}
		_, err := tx.ExecContext(ctx, `UPDATE storage_locations SET checked = $1, checked_us = $2
			WHERE backend_id = $3 AND sha256 IN (`+database.Parameters(4, len(chunk))+`)`, args...)
		return err
	})
}

// LastChecked returns when something was last found of a location of the
// backend, zero if never.
func LastChecked(ctx context.Context, tx database.Tx, backendID string) (time.Time, error) {
	var at int64
	err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(at), 0) FROM (
		SELECT MAX(checked_us) AS at FROM storage_locations WHERE backend_id = $1 AND state = 'live' UNION ALL
		SELECT MAX(checked_us) AS at FROM storage_locations WHERE backend_id = $1 AND state = 'failed') AS newest`, backendID).Scan(&at)
	return timeOf(at), err
}

// timeOf and micros turn columns of microseconds, in which 0 is never, into times and back.
func timeOf(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func micros(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMicro()
}
