package view

import (
	"context"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
)

// An index that is made of a full table costs a fifth of one that grows with it: the keys
// are digests, so each row would change another page. What is unique is part of its table:
// the fold needs it.

// split parts the text that makes tables into the tables and the statements that make
// their other indexes, which have a line each.
func split(text string) (tables string, indexes []string) {
	var rest strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "CREATE INDEX ") {
			indexes = append(indexes, line)
		} else {
			rest.WriteString(line)
		}
	}
	return rest.String(), indexes
}

// indexesDue reports whether the indexes have to be made before the tables are full.
// While an index is made, nobody else can write to SQLite: it is made at once if somebody
// does, and in any case before that would take longer than they wait. PostgreSQL says
// nothing meanwhile, which is not taken for silence for as long as database.Patient says.
func (r *replay) indexesDue() bool {
	if r.db.Engine() == database.SQLite {
		return r.pace.busy() || r.replayed > indexedBytes
	}
	return r.replayed > indexedBytesPostgreSQL
}

// makeIndexes makes those that are missing, each in a transaction.
func (r *replay) makeIndexes(ctx context.Context) error {
	for len(r.indexes) > 0 {
		if err := r.step(ctx, func(tx database.Tx) error {
			if _, err := tx.ExecContext(ctx, r.indexes[0]); err != nil {
				return err
			}
			// It may have taken longer than the claim.
			return r.renew(ctx, tx, r.holder, time.Now().Add(claimTime))
		}); err != nil {
			return err
		}
		r.indexes = r.indexes[1:]
		if err := pause(ctx, r.pace.pause()); err != nil {
			return err
		}
	}
	return nil
}
