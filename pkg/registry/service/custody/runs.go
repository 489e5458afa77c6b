package custody

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
)

// Runs that are under way are scratch: what was found stands, and each has one
// event when it ends. Losing these rows loses that event, nothing else.
var schema = []string{`
CREATE TABLE verification_runs (
	id             TEXT   NOT NULL, -- chosen by who runs
	backend_id     TEXT   NOT NULL,
	actor          TEXT   NOT NULL,
	began_us       BIGINT NOT NULL, -- the first report
	reported_us    BIGINT NOT NULL, -- the last one
	first_position BIGINT NOT NULL, -- at which its locations were listed
	last_position  BIGINT NOT NULL,
	verified       BIGINT NOT NULL,
	corrupt        BIGINT NOT NULL,
	missing        BIGINT NOT NULL,
	list           BYTEA  NOT NULL, -- the state of the SHA-256 over what was right
	PRIMARY KEY (backend_id, id)
);
`}

// Migrate creates the tables that are missing.
func Migrate(ctx context.Context, db *database.DB) error {
	return errors.Join(db.Migrate(ctx, "verification", schema), db.Migrate(ctx, "leases", leaseSchema))
}

const (
	// silence is how long a run may report nothing before it is taken for one that
	// was interrupted: a run reports what it has each half minute, but a large object may
	// take long. One that goes on after all has another event then.
	silence = 2 * time.Hour
	// silentInterval is how often silent runs are looked for.
	silentInterval = 10 * time.Minute
	// runsPerSweep bounds one transaction.
	runsPerSweep = 20
)

// account adds findings to their run, and returns what is logged: what changes a
// state, and of a run that ends, the run.
func (k *Keeper) account(ctx context.Context, tx database.Tx, backendID string, found registry.VerifyFindings, n news) ([]event.Payload, error) {
	verified := event.LocationVerified{BackendID: backendID, SHA256: n.restored}
	run, err := findRun(ctx, tx, backendID, found.Run)
	if err != nil {
		return nil, err
	}
	if len(n.holding) > 0 {
		run.add(found, n, registry.ActorOf(ctx), k.core.Now())
	}
	switch {
	case run.empty(): // nothing was found, or all of it is superseded
	case found.Run == "":
		verified.Run = run.record()
	case found.End:
		verified.Run, err = run.record(), run.remove(ctx, tx)
	case len(n.holding) > 0:
		err = run.save(ctx, tx)
	}
	var payloads []event.Payload
	if verified.Run != nil || len(n.restored) > 0 {
		payloads = append(payloads, verified)
	}
	for _, f := range n.failed {
		payloads = append(payloads, event.LocationFailed{BackendID: backendID, SHA256: f.SHA256.Bytes(), Reason: f.Reason, Detail: f.Detail})
	}
	return payloads, err
}

// run is a row of verification_runs.
type run struct {
	event.VerifiedRun
	backendID, actor string
	reported         int64
	list             hash.Hash
}

// findRun returns a run that is under way, or a new one that has found nothing yet.
func findRun(ctx context.Context, tx database.Tx, backendID, id string) (*run, error) {
	r := &run{VerifiedRun: event.VerifiedRun{ID: id}, backendID: backendID, list: sha256.New()}
	if id == "" {
		return r, nil
	}
	var state []byte
	err := tx.QueryRowContext(ctx, `SELECT actor, began_us, reported_us, first_position, last_position, verified, corrupt, missing, list
		FROM verification_runs WHERE backend_id = $1 AND id = $2`, backendID, id).
		Scan(&r.actor, &r.Began, &r.reported, &r.From, &r.To, &r.Verified, &r.Corrupt, &r.Missing, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return r, nil
	}
	if err == nil {
		err = r.list.(encoding.BinaryUnmarshaler).UnmarshalBinary(state)
	}
	if err != nil {
		return nil, fmt.Errorf("the verification run %s: %w", id, err)
	}
	return r, nil
}

func (r *run) empty() bool { return r.Verified+r.Corrupt+r.Missing == 0 }

func (r *run) add(found registry.VerifyFindings, n news, actor string, now time.Time) {
	if r.empty() {
		r.actor, r.Began, r.From = actor, now.UnixMicro(), found.Position
	}
	r.reported, r.From, r.To = now.UnixMicro(), min(r.From, found.Position), max(r.To, found.Position)
	r.Verified += int64(len(n.right))
	r.Corrupt += n.corrupt
	r.Missing += n.missing
	for _, d := range n.right {
		r.list.Write(d.Bytes()) // never fails
	}
}

// record is what the log says of the run.
func (r *run) record() *event.VerifiedRun {
	record := r.VerifiedRun
	record.List = r.list.Sum(nil)
	return &record
}

func (r *run) save(ctx context.Context, tx database.Tx) error {
	state, err := r.list.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return err
	}
	_, err = database.InsertRows(ctx, tx, "verification_runs",
		[]string{"id", "backend_id", "actor", "began_us", "reported_us", "first_position", "last_position", "verified", "corrupt", "missing", "list"},
		[][]any{{r.ID, r.backendID, r.actor, r.Began, r.reported, r.From, r.To, r.Verified, r.Corrupt, r.Missing, state}},
		`ON CONFLICT (backend_id, id) DO UPDATE SET reported_us = excluded.reported_us, first_position = excluded.first_position,
		 last_position = excluded.last_position, verified = excluded.verified, corrupt = excluded.corrupt, missing = excluded.missing, list = excluded.list`)
	return err
}

func (r *run) remove(ctx context.Context, tx database.Tx) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM verification_runs WHERE backend_id = $1 AND id = $2`, r.backendID, r.ID)
	return err
}

// Janitor logs runs that were interrupted, and verifies what is in doubt, until ctx ends.
func (k *Keeper) Janitor(ctx context.Context) {
	silent, doubts := time.NewTicker(silentInterval), time.NewTicker(doubtInterval)
	defer silent.Stop()
	defer doubts.Stop()
	k.endSilentRuns(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-silent.C:
			k.endSilentRuns(ctx)
		case <-doubts.C:
			if err := k.LookAtDoubts(ctx); err != nil && ctx.Err() == nil {
				k.core.Logger.Warn("verifying what is in doubt", "error", err)
			}
		}
	}
}

func (k *Keeper) endSilentRuns(ctx context.Context) {
	if err := k.EndSilentRuns(ctx); err != nil && ctx.Err() == nil {
		k.core.Logger.Warn("recording verifications that were interrupted", "error", err)
	}
}

// EndSilentRuns logs runs that were interrupted.
func (k *Keeper) EndSilentRuns(ctx context.Context) error {
	for {
		silent, err := k.listSilent(ctx)
		if err != nil || len(silent) == 0 {
			return err
		}
		for _, key := range silent {
			if err := k.endSilent(ctx, key[0], key[1]); err != nil {
				return err
			}
		}
	}
}

func (k *Keeper) listSilent(ctx context.Context) (keys [][2]string, err error) {
	err = k.core.Read(ctx, func(tx database.Tx) error {
		keys = nil
		rows, err := tx.QueryContext(ctx, `SELECT backend_id, id FROM verification_runs WHERE reported_us < $1 LIMIT $2`, k.silentSince(), runsPerSweep)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var key [2]string
			if err := rows.Scan(&key[0], &key[1]); err != nil {
				return err
			}
			keys = append(keys, key)
		}
		return rows.Err()
	})
	return keys, err
}

func (k *Keeper) silentSince() int64 { return k.core.Now().Add(-silence).UnixMicro() }

// endSilent ends one, unless it has reported meanwhile or another replica has ended it.
func (k *Keeper) endSilent(ctx context.Context, backendID, id string) error {
	return k.core.Append(ctx, func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
		r, err := findRun(ctx, tx, backendID, id)
		if err != nil || r.empty() || r.reported >= k.silentSince() {
			return nil, err
		}
		if err := r.remove(ctx, tx); err != nil {
			return nil, err
		}
		return event.NewAll(r.actor, []event.Payload{event.LocationVerified{BackendID: backendID, Run: r.record()}})
	})
}
