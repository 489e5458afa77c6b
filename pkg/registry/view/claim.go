package view

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// errClaimLost: the process did nothing for longer than claimTime, and another one began.
var errClaimLost = errors.New("another rebuild or check of the views has started")

// claim is the right to make tables beside those that serve. One process has it
// at a time. It is a row that is renewed by each transaction: a process that is
// killed loses it after claimTime, and one that has lost it can change nothing more.
// (A lock of the session would not pass a pooler, and SQLite has none.)
type claim struct {
	db         *database.DB
	holder     string
	generation int64
}

// acquire waits until nobody has the claim. told, if it is not nil, is called
// with who has it, once.
func acquire(ctx context.Context, db *database.DB, told func(holder string)) (*claim, error) {
	host, _ := os.Hostname() // only to be shown
	c := &claim{db: db, holder: fmt.Sprintf("process %d on %s, %s", os.Getpid(), host, uuid.NewString())}
	for {
		other, err := c.try(ctx)
		if err != nil || other == "" {
			return c, err
		}
		if told != nil {
			told(other)
			told = nil
		}
		select {
		case <-time.After(claimPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// try takes the claim, or returns who has it. What the holder before left
// behind is dropped.
func (c *claim) try(ctx context.Context) (other string, err error) {
	err = c.db.Write(ctx, func(tx database.Tx) error {
		other = ""
		now := time.Now()
		err := tx.QueryRowContext(ctx, `UPDATE view_state SET holder = $1, until_us = $2, started = started + 1
			WHERE id = 1 AND (holder = '' OR until_us < $3) RETURNING started`, c.holder, now.Add(claimTime).UnixMicro(), now.UnixMicro()).Scan(&c.generation)
		if errors.Is(err, sql.ErrNoRows) {
			return tx.QueryRowContext(ctx, "SELECT holder FROM view_state WHERE id = 1").Scan(&other)
		}
		if err != nil {
			return err
		}
		return drop(ctx, tx, fresh(c.generation-1))
	})
	return other, err
}

// write is a Write that renews the claim, or fails with errClaimLost.
func (c *claim) write(ctx context.Context, fn func(tx database.Tx) error) error {
	return c.db.Write(ctx, func(tx database.Tx) error {
		if err := c.renew(ctx, tx, c.holder, time.Now().Add(claimTime)); err != nil {
			return err
		}
		return fn(tx)
	})
}

func (c *claim) renew(ctx context.Context, tx database.Tx, holder string, until time.Time) error {
	result, err := tx.ExecContext(ctx, "UPDATE view_state SET holder = $1, until_us = $2 WHERE id = 1 AND holder = $3", holder, until.UnixMicro(), c.holder)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, errClaimLost)
	}
	return nil
}

// release drops what was made and not exchanged, or exchanged, and gives the claim back,
// also when ctx has ended. A claim that was lost is not an error here. Each table is
// dropped apart: SQLite visits each page of it, and others wait to write.
func (c *claim) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	var err error
	for _, t := range fold.Tables {
		if err == nil {
			err = c.write(ctx, func(tx database.Tx) error { return dropTable(ctx, tx, fresh(c.generation), t.Name) })
		}
	}
	if errors.Is(err, database.ErrBusy) {
		err = nil // a backup reads it: the next one drops it
	}
	if err == nil {
		err = c.db.Write(ctx, func(tx database.Tx) error { return c.renew(ctx, tx, "", time.Time{}) })
	}
	if errors.Is(err, errClaimLost) {
		return nil
	}
	return err
}

// fresh names the tables of a rebuild until they serve.
func fresh(generation int64) fold.Names { return fold.Names{Suffix: fmt.Sprintf("_g%d", generation)} }

func drop(ctx context.Context, tx database.Tx, n fold.Names) error {
	for _, t := range fold.Tables {
		if err := dropTable(ctx, tx, n, t.Name); err != nil {
			return err
		}
	}
	return nil
}

func dropTable(ctx context.Context, tx database.Tx, n fold.Names, table string) error {
	_, err := tx.ExecContext(ctx, "DROP TABLE IF EXISTS "+n.Of(table))
	return err
}
