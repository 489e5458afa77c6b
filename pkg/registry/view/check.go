package view

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
)

// ErrDiffers: the live views are not the fold of the log.
var ErrDiffers = errors.New("the live views differ from a replay of the log")

// Report is what Check looked at.
type Report struct {
	LogID  string         `json:"logId"`
	Events uint64         `json:"events"`
	Rows   map[string]int `json:"rows"` // by table
}

// replayPage bounds how many records are held at once; a record can be 32 MiB.
const replayPage = 16

// Check replays the log into fresh views, in a temporary SQLite file whatever
// the live engine is, and compares every row. It reads one snapshot, so it may
// run beside a live registry. ErrDiffers names the first row that differs; a broken chain of
// records is eventlog.ErrBroken.
func Check(ctx context.Context, live *database.DB) (Report, error) {
	report := Report{Rows: make(map[string]int)}
	folder, err := os.MkdirTemp("", "artifactstore-views-")
	if err != nil {
		return report, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	fresh, err := database.Open(ctx, "sqlite://"+filepath.Join(folder, "views.db"))
	if err != nil {
		return report, err
	}
	defer fresh.Close() //nolint:errcheck // nothing in it is kept
	if err := Migrate(ctx, fresh); err != nil {
		return report, err
	}
	err = live.Read(ctx, func(tx database.Tx) error {
		head, err := eventlog.Check(ctx, tx)
		if err != nil {
			return err
		}
		report.LogID, report.Events = head.LogID, head.Position
		if err := replay(ctx, tx, fresh, head.Position); err != nil {
			return err
		}
		return fresh.Read(ctx, func(again database.Tx) error {
			for _, t := range tables {
				if report.Rows[t.name], err = compare(ctx, t.name, t.columns, t.order, tx, again); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return report, err
}

func replay(ctx context.Context, from database.Tx, into *database.DB, head uint64) error {
	for at := uint64(0); at < head; {
		records, err := eventlog.ReadTx(ctx, from, at, replayPage)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return fmt.Errorf("the log ends at %d, its head says %d", at, head)
		}
		if err := into.Write(ctx, func(tx database.Tx) error {
			for _, rec := range records {
				if err := Apply(ctx, tx, rec); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		at = records[len(records)-1].Position
	}
	return nil
}

// compare walks a table in both databases in the same order.
func compare(ctx context.Context, table, columns, order string, live, fresh database.Tx) (n int, err error) {
	query := `SELECT ` + columns + ` FROM ` + table + ` ORDER BY ` + order
	a, err := live.QueryContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer a.Close() //nolint:errcheck // a.Err tells
	b, err := fresh.QueryContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer b.Close() //nolint:errcheck // b.Err tells
	for {
		moreA, moreB := a.Next(), b.Next()
		if err := errors.Join(a.Err(), b.Err()); err != nil {
			return n, err
		}
		if !moreA && !moreB {
			return n, nil
		}
		rowA, errA := scanAny(a, moreA)
		rowB, errB := scanAny(b, moreB)
		if err := errors.Join(errA, errB); err != nil {
			return n, err
		}
		if !reflect.DeepEqual(rowA, rowB) {
			return n, fmt.Errorf("%w: %s row %d (%s) is %s, the replay has %s", ErrDiffers, table, n, columns, show(rowA), show(rowB))
		}
		n++
	}
}

func scanAny(rows *sql.Rows, there bool) ([]any, error) {
	if !there {
		return nil, nil
	}
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	return values, rows.Scan(into...)
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
