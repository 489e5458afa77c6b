package storage

import "fmt"

// MaxMarkerSize bounds a marker object in bytes: a UUID, the log's id and the
// place take a few hundred.
const MaxMarkerSize = 64 << 10

// Within checks that the range lies inside a blob of size bytes: nil or ErrRange.
func (r Range) Within(size int64) error {
	// Written so that Offset+Length cannot overflow.
	if r.Offset < 0 || r.Length < 0 || r.Offset > size || r.Length > size-r.Offset {
		return fmt.Errorf("%d bytes from %d of %d: %w", r.Length, r.Offset, size, ErrRange)
	}
	return nil
}
