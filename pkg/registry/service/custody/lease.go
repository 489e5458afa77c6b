package custody

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/database"
)

// A lease is a row that its holder renews: one run at a time, on all replicas. The row
// of a replica that died, or of a run that hangs after it was told to end, is free
// after leaseTime. Losing the rows costs nothing but that.
var leaseSchema = []string{`
CREATE TABLE leases (
	name     TEXT PRIMARY KEY,
	holder   TEXT   NOT NULL,
	until_us BIGINT NOT NULL
);
`}

const (
	leaseTime    = time.Minute
	leaseRenewal = leaseTime / 4
)

var (
	errLeased    = errors.New("another run holds the lease")
	errLeaseLost = errors.New("the lease of this run was lost: the database did not answer for a minute, or another run began")
)

// lease takes the lease of that name, or fails with errLeased. The context that it
// returns ends with ctx, and when the lease is lost. free must be called.
func (k *Keeper) lease(ctx context.Context, name string) (held context.Context, free func(), err error) {
	l := &lease{keeper: k, name: name, holder: uuid.NewString()}
	if err := l.take(ctx); err != nil {
		return nil, nil, err
	}
	held, lose := context.WithCancelCause(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		l.renew(held, lose)
	}()
	return held, func() {
		lose(nil)
		<-renewed
		l.free(ctx)
	}, nil
}

type lease struct {
	keeper       *Keeper
	name, holder string
}

func (l *lease) take(ctx context.Context) error {
	return l.change(ctx, errLeased, `INSERT INTO leases (name, holder, until_us) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_us = excluded.until_us WHERE leases.until_us < $4`,
		l.name, l.holder, l.until(), l.keeper.core.Now().UnixMicro())
}

// renew keeps the lease until ctx ends. It calls lose if it cannot.
func (l *lease) renew(ctx context.Context, lose context.CancelCauseFunc) {
	ticker := time.NewTicker(leaseRenewal)
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		bounded, cancel := context.WithTimeout(ctx, leaseRenewal)
		err := l.change(bounded, errLeaseLost, `UPDATE leases SET until_us = $1 WHERE name = $2 AND holder = $3`, l.until(), l.name, l.holder)
		cancel()
		switch {
		case err == nil:
			last = time.Now()
		case errors.Is(err, errLeaseLost), time.Since(last) > leaseTime-leaseRenewal:
			lose(errLeaseLost)
			return
		}
	}
}

func (l *lease) free(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseRenewal)
	defer cancel()
	// If it fails, the lease ends by itself.
	_ = l.keeper.core.Write(ctx, func(tx database.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM leases WHERE name = $1 AND holder = $2`, l.name, l.holder)
		return err
	})
}

func (l *lease) until() int64 { return l.keeper.core.Now().Add(leaseTime).UnixMicro() }

// change returns otherwise if the statement changes nothing.
func (l *lease) change(ctx context.Context, otherwise error, text string, args ...any) error {
	return l.keeper.core.Write(ctx, func(tx database.Tx) error {
		result, err := tx.ExecContext(ctx, text, args...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, otherwise)
		}
		return nil
	})
}
