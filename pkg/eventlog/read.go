package eventlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
)

// Head returns the current end of the log.
func (l *Log) Head(ctx context.Context) (Head, error) {
	var head Head
	err := l.db.Read(ctx, func(tx database.Tx) (err error) {
		head, err = HeadTx(ctx, tx)
		return err
	})
	return head, err
}

// HeadTx returns the end of the log in the snapshot of tx.
func HeadTx(ctx context.Context, tx database.Tx) (Head, error) {
	var head Head
	var hash []byte
	err := tx.QueryRowContext(ctx, "SELECT log_id, position, hash FROM log_head WHERE id = 1").Scan(&head.LogID, &head.Position, &hash)
	if err != nil {
		return Head{}, fmt.Errorf("reading the head of the event log: %w", err)
	}
	copy(head.Hash[:], hash)
	return head, nil
}

// TimeTx returns the time of the record at a position. ErrPastHead.
func TimeTx(ctx context.Context, tx database.Tx, position uint64) (time.Time, error) {
	var micros int64
	err := tx.QueryRowContext(ctx, "SELECT time FROM events WHERE position = $1", int64(position)).Scan(&micros)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, fmt.Errorf("%w: %d", ErrPastHead, position)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the event log: %w", err)
	}
	return time.UnixMicro(micros).UTC(), nil
}

// HashTx returns the hash of the record at a position; zeros for 0. ErrPastHead.
func HashTx(ctx context.Context, tx database.Tx, position uint64) (hash [32]byte, err error) {
	if position == 0 {
		return hash, nil
	}
	var found []byte
	err = tx.QueryRowContext(ctx, "SELECT hash FROM events WHERE position = $1", int64(position)).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		return hash, fmt.Errorf("%w: %d", ErrPastHead, position)
	}
	if err != nil {
		return hash, fmt.Errorf("reading the event log: %w", err)
	}
	copy(hash[:], found)
	return hash, nil
}

// Read returns records after the position, in order: at most limit (1 to MaxPage; larger
// limits are cut), and fewer if their payloads exceed MaxPageBytes, but at least one if
// there is any. ErrPastHead, and ErrFenced once that is known.
func (l *Log) Read(ctx context.Context, after uint64, limit int) ([]Record, error) {
	return l.ReadPage(ctx, after, Page{Records: min(max(limit, 1), MaxPage), Bytes: MaxPageBytes})
}

// ReadPage is Read with a page of the caller's.
func (l *Log) ReadPage(ctx context.Context, after uint64, page Page) ([]Record, error) {
	if err := l.Fenced(); err != nil {
		return nil, err
	}
	var records []Record
	err := l.db.Read(ctx, func(tx database.Tx) (err error) {
		records, err = ReadPageTx(ctx, tx, after, page)
		return err
	})
	return records, err
}

// ReadOne returns the record at a position. ErrPastHead, including position 0.
func (l *Log) ReadOne(ctx context.Context, position uint64) (Record, error) {
	if position == 0 {
		return Record{}, fmt.Errorf("%w: positions begin at 1", ErrPastHead)
	}
	records, err := l.Read(ctx, position-1, 1)
	if err != nil {
		return Record{}, err
	}
	if len(records) == 0 {
		return Record{}, fmt.Errorf("%w: %d", ErrPastHead, position)
	}
	return records[0], nil
}

// ReadPayload returns a piece of the payload of the record at a position: n bytes
// from the offset, fewer at its end. ErrPastHead, and ErrFenced once that is known.
func (l *Log) ReadPayload(ctx context.Context, position uint64, offset int64, n int) ([]byte, error) {
	if err := l.Fenced(); err != nil {
		return nil, err
	}
	var piece []byte
	err := l.db.Read(ctx, func(tx database.Tx) (err error) {
		piece, err = pieceOf(ctx, tx, position, offset, n)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%w: %d", ErrPastHead, position)
		}
		return err
	})
	return piece, err
}

// ReadTx is Read in the snapshot of tx.
func ReadTx(ctx context.Context, tx database.Tx, after uint64, limit int) ([]Record, error) {
	return ReadPageTx(ctx, tx, after, Page{Records: min(max(limit, 1), MaxPage), Bytes: MaxPageBytes})
}

// Page bounds how much is read at once: as many records as have Bytes of payload
// together, but at least one if there is any.
type Page struct {
	Records int
	Bytes   int64
	// Cut, if not 0, is how many bytes of a payload are read at most: of a longer
	// one the rest is left out. The Hash stays that of the whole.
	Cut int
}

// ReadPageTx returns records after the position in the snapshot of tx, in order. ErrPastHead.
func ReadPageTx(ctx context.Context, tx database.Tx, after uint64, page Page) ([]Record, error) {
	head, err := HeadTx(ctx, tx)
	if err != nil {
		return nil, err
	}
	if after > head.Position || after > math.MaxInt64 {
		return nil, fmt.Errorf("%w: %d, the head is %d", ErrPastHead, after, head.Position)
	}
	if after == head.Position {
		return nil, nil
	}
	last, err := pageEnd(ctx, tx, after, page)
	if err != nil {
		return nil, fmt.Errorf("reading the event log: %w", err)
	}
	cut := page.Cut
	if cut == 0 {
		cut = pieceBytes
	}
	rows, err := tx.QueryContext(ctx, `SELECT position, time, kind, actor, subject, previous, hash, length(payload),
		CASE WHEN length(payload) > $3 THEN substr(payload, 1, $3) ELSE payload END
		FROM events WHERE position > $1 AND position <= $2 ORDER BY position`, int64(after), last, cut)
	if err != nil {
		return nil, fmt.Errorf("reading the event log: %w", err)
	}
	defer rows.Close()
	var (
		records []Record
		long    = map[int]int{} // index -> length
	)
	for rows.Next() {
		record, length, err := scanRecord(rows)
		if err != nil {
			return nil, err
		}
		if page.Cut == 0 && length > len(record.Payload) {
			long[len(records)] = length
		}
		records = append(records, record)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("reading the event log: %w", err)
	}
	for i, length := range long {
		if err := readRest(ctx, tx, &records[i], length); err != nil {
			return nil, fmt.Errorf("reading the event log: %w", err)
		}
	}
	return records, nil
}

// readRest completes a payload in pieces: the database, its driver and database/sql would
// each hold all of it at once.
func readRest(ctx context.Context, tx database.Tx, record *Record, length int) error {
	whole := make([]byte, 0, length)
	whole = append(whole, record.Payload...)
	for len(whole) < length {
		piece, err := pieceOf(ctx, tx, record.Position, int64(len(whole)), pieceBytes)
		if err != nil {
			return err
		}
		if len(piece) == 0 {
			return fmt.Errorf("%w: record %d ends at byte %d of %d", ErrBroken, record.Position, len(whole), length)
		}
		whole = append(whole, piece...)
	}
	record.Payload = whole
	return nil
}

func pieceOf(ctx context.Context, tx database.Tx, position uint64, offset int64, n int) (piece []byte, err error) {
	err = tx.QueryRowContext(ctx, "SELECT substr(payload, $1, $2) FROM events WHERE position = $3", offset+1, n, int64(position)).Scan(&piece)
	return piece, err
}

// pageEnd finds the last position of a page by the lengths of payloads: a driver that
// has begun to receive payloads would receive them all.
func pageEnd(ctx context.Context, tx database.Tx, after uint64, page Page) (int64, error) {
	rows, err := tx.QueryContext(ctx, "SELECT position, length(payload) FROM events WHERE position > $1 ORDER BY position LIMIT $2",
		int64(after), page.Records)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	last, total := int64(after), int64(0)
	for rows.Next() {
		var position, size int64
		if err := rows.Scan(&position, &size); err != nil {
			return 0, err
		}
		if total += size; total > page.Bytes && last > int64(after) {
			break
		}
		last = position
	}
	return last, rows.Err()
}

// scanRecord returns a record, and the length of its payload, of which that may be the beginning.
func scanRecord(rows *sql.Rows) (r Record, length int, err error) {
	var micros int64
	var previous, hash []byte
	if err := rows.Scan(&r.Position, &micros, &r.Kind, &r.Actor, &r.Subject, &previous, &hash, &length, &r.Payload); err != nil {
		return Record{}, 0, fmt.Errorf("reading the event log: %w", err)
	}
	if len(previous) != len(r.Previous) || len(hash) != len(r.Hash) {
		return Record{}, 0, fmt.Errorf("%w: the hashes of record %d are %d and %d bytes long", ErrBroken, r.Position, len(previous), len(hash))
	}
	copy(r.Previous[:], previous)
	copy(r.Hash[:], hash)
	r.Time = time.UnixMicro(micros).UTC()
	return r, length, nil
}
