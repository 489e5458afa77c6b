package storage

import "fmt"

// MaxMarkerSize bounds a marker object in bytes: a UUID, the log's id and the
// place need a few hundred.
const MaxMarkerSize = 64 << 10

// Within returns ErrRange unless the range is inside a blob of size bytes.
func (r Range) Within(size int64) error {
	// This form avoids the overflow of Offset+Length.
	if r.Offset < 0 || r.Length < 0 || r.Offset > size || r.Length > size-r.Offset {
		return fmt.Errorf("%d bytes from %d of %d: %w", r.Length, r.Offset, size, ErrRange)
	}
	return nil
}
