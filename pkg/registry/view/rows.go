package view

import (
	"context"
	"database/sql"

	"github.com/coulomb/artifact-store/pkg/database"
)

// reading is a query whose rows are read by a goroutine, many at a time: a comparison has
// two, and a driver works for one of them while the other's rows are compared.
type reading struct {
	batches chan batch
	rest    [][]any
	err     error
}

type batch struct {
	rows [][]any
	err  error // after the rows
}

// readRows begins to read. tx is the goroutine's until end has returned, for which ctx has
// to end if not all was read.
func readRows(ctx context.Context, tx database.Tx, query string) *reading {
	r := &reading{batches: make(chan batch, 1)}
	go func() {
		defer close(r.batches)
		err := r.read(ctx, tx, query)
		if err != nil {
			select {
			case r.batches <- batch{err: err}:
			case <-ctx.Done():
			}
		}
	}()
	return r
}

func (r *reading) read(ctx context.Context, tx database.Tx, query string) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	into := make([]any, len(names))
	for more := true; more; {
		var b batch
		values := make([]any, rowsOfBatch*len(names))
		for size := 0; len(b.rows) < rowsOfBatch && size < bytesOfBatch; {
			if more = rows.Next(); !more {
				break
			}
			row := values[:len(names):len(names)]
			values = values[len(names):]
			if err := scan(rows, row, into); err != nil {
				return err
			}
			b.rows = append(b.rows, row)
			size += weight(row)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		select {
		case r.batches <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// next returns the next row, nil at the end.
func (r *reading) next() ([]any, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return nil, r.err
		}
		b, more := <-r.batches
		if !more {
			return nil, nil
		}
		r.rest, r.err = b.rows, b.err
	}
	row := r.rest[0]
	r.rest = r.rest[1:]
	return row, nil
}

// end waits until nothing is read any more.
func (r *reading) end() {
	for range r.batches {
	}
}

// scan reads a row; into is room for as many pointers.
func scan(rows *sql.Rows, row, into []any) error {
	for i := range row {
		into[i] = &row[i]
	}
	return rows.Scan(into...)
}

// weight of a row in bytes, about: annotations may have 270 KiB.
func weight(row []any) (size int) {
	for _, value := range row {
		switch value := value.(type) {
		case []byte:
			size += len(value)
		case string:
			size += len(value)
		}
	}
	return size
}
