package view

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/view/fold"
)

// ErrDiffers: the live views are not the fold of the log.
var ErrDiffers = errors.New("the live views differ from a replay of the log")

// Report is what Check compared, or Rebuild made.
type Report struct {
	LogID  string         `json:"logId"`
	Events uint64         `json:"events"`
	Rows   map[string]int `json:"rows"` // by table
}

// Check replays the log into tables beside those that serve, in the same
// database, compares every row, and drops them again. It checks the chain of
// records as well, and runs beside everything else as Rebuild does. ErrDiffers
// names the first row that differs; a broken chain of records is eventlog.ErrBroken.
//
// It needs a user that may create tables, and as much room in the database as
// the views take; nothing on the machine where it runs.
func (v *Views) Check(ctx context.Context, p Progress) (report Report, err error) {
	ctx = database.Patient(ctx)
	c, s, err := v.begin(ctx, p)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, c.release(ctx)) }()
	r, err := newReplay(ctx, c, v.layout, p.Replayed)
	if err != nil {
		return report, err
	}
	r.indexes = nil // its tables are read in the order of their keys
	if err := r.catchUp(ctx, 0); err != nil {
		return report, err
	}
	err = v.db.Read(ctx, func(live database.Tx) error {
		head, err := eventlog.HeadTx(ctx, live)
		if err != nil {
			return err
		}
		// The replay goes to where this snapshot is, and is then read by a snapshot of its own.
		if err := r.catchUp(ctx, head.Position); err != nil {
			return err
		}
		if err := r.chain.End(ctx, live, head); err != nil {
			return err
		}
		report = Report{LogID: head.LogID, Events: head.Position, Rows: make(map[string]int)}
		return v.db.Read(ctx, func(again database.Tx) error {
			gaveUp, err := fold.AllAbandonments(ctx, live, fold.Names{})
			if err != nil {
				return err
			}
			gaveUpFresh, err := fold.AllAbandonments(ctx, again, r.into.Names)
			if err != nil {
				return err
			}
			for _, t := range fold.Tables {
				if t.Since > s.version {
					continue
				}
				columns := slices.DeleteFunc(slices.Clone(t.Columns), func(c string) bool { return !v.layout.Has(t.Name+"."+c, s.version) })
				c := comparison{t.Name, r.into.Of(t.Name), strings.Join(columns, ", "), t.Order, observed(t.Name, columns), t.Name == "storage_locations", gaveUp, gaveUpFresh}
				if report.Rows[t.Name], err = compare(ctx, c, live, again); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return report, err
}

type comparison struct {
	live, fresh, columns, order string
	observed                    []int // by column: whether it may only be more than the replay's (1), or less (-1), see observe.go
	settle                      bool
	gaveUp, gaveUpFresh         fold.Abandonments
}

func observed(table string, columns []string) []int {
	signs := map[string]int{"storage_locations.checked": 1, "storage_locations.checked_us": 1, "location_counts.unchecked": -1}
	observed := make([]int, len(columns))
	for i, column := range columns {
		observed[i] = signs[table+"."+column]
	}
	return observed
}

func (c comparison) query(table string) string {
	return `SELECT ` + c.columns + ` FROM ` + table + ` ORDER BY ` + c.order
}

// same compares two rows. An observation may be newer than the replay's.
func same(live, fresh []any, observed []int) bool {
	if len(live) != len(fresh) {
		return false
	}
	for i := range live {
		newer := false
		if observed[i] != 0 {
			a, okA := live[i].(int64)
			b, okB := fresh[i].(int64)
			newer = okA && okB && cmp.Compare(a, b) == observed[i]
		}
		if !newer && !equal(live[i], fresh[i]) {
			return false
		}
	}
	return true
}

// equal compares two values that a driver has read.
func equal(a, b any) bool {
	if bytesA, is := a.([]byte); is {
		bytesB, is := b.([]byte)
		return is && bytes.Equal(bytesA, bytesB)
	}
	if _, is := b.([]byte); is {
		return false
	}
	return a == b
}

// compare walks a table and its replay in the same order.
func compare(ctx context.Context, c comparison, live, fresh database.Tx) (n int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	a, b := readRows(ctx, live, c.query(c.live)), readRows(ctx, fresh, c.query(c.fresh))
	defer func() {
		cancel()
		a.end()
		b.end()
	}()
	for {
		rowA, errA := a.next()
		rowB, errB := b.next()
		if err := errors.Join(errA, errB); err != nil {
			return n, err
		}
		if rowA == nil && rowB == nil {
			return n, nil
		}
		if c.settle {
			c.gaveUp.Settle(rowA)
			c.gaveUpFresh.Settle(rowB)
		}
		if !same(rowA, rowB, c.observed) {
			return n, fmt.Errorf("%w: %s row %d (%s) is %s, the replay has %s", ErrDiffers, c.live, n, c.columns, show(rowA), show(rowB))
		}
		n++
	}
}

func show(row []any) string {
	if row == nil {
		return "absent"
	}
	parts := make([]string, len(row))
	for i, value := range row {
		switch value := value.(type) {
		case []byte:
			parts[i] = hex.EncodeToString(value)
		case string:
			parts[i] = fmt.Sprintf("%.200q", value)
		default:
			parts[i] = fmt.Sprint(value)
		}
	}
	return strings.Join(parts, ", ")
}
