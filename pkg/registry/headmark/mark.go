// Package headmark is the mark of the log's head that stands in each backend:
// its format, its comparison with the log, and the rows that remember a mark
// that the log does not have.
//
// A mark says that the log with this id once had a record with this hash at
// this position. A log that has not is an older copy (a restored backup), or
// has gone another way since: it does not know all that the backend holds, so
// nothing may be removed for its not knowing.
package headmark

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Mark is the head of a log at some time.
type Mark struct {
	LogID    string
	Position uint64
	Hash     [32]byte
	Time     time.Time // when the mark was written
}

// document is the mark in JSON, for people who open the bucket in ten years.
// Fields may be added, never changed.
type document struct {
	Format   string    `json:"format"` // format
	LogID    string    `json:"logId"`
	Position uint64    `json:"position"`
	Hash     string    `json:"hash"` // hex
	Time     time.Time `json:"time"`
	Note     string    `json:"note"`
}

const (
	format = "artifactstore.dev/head/v1"
	note   = "How far the event log had come. A registry whose log is older than this removes nothing here."
)

// Encode returns the object's bytes.
func (m Mark) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(document{Format: format, LogID: m.LogID, Position: m.Position,
		Hash: hex.EncodeToString(m.Hash[:]), Time: m.Time.UTC().Truncate(time.Second), Note: note}, "", "  ")
	return append(data, '\n'), err
}

// Parse is the inverse of Encode.
func Parse(data []byte) (Mark, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil || d.Format != format {
		return Mark{}, fmt.Errorf("it is not a head mark of the format %s", format)
	}
	if d.Position > math.MaxInt64 { // no database keeps it
		return Mark{}, fmt.Errorf("the position of the head mark is %d, which is none", d.Position)
	}
	m := Mark{LogID: d.LogID, Position: d.Position, Time: d.Time}
	hash, err := hex.DecodeString(d.Hash)
	if err != nil || len(hash) != len(m.Hash) {
		return Mark{}, fmt.Errorf("the hash of the head mark is %.80q, which is not a hash", d.Hash)
	}
	copy(m.Hash[:], hash)
	return m, nil
}

// Same reports whether two marks name the same record, whenever they were written.
func (m Mark) Same(other Mark) bool {
	return m.LogID == other.LogID && m.Position == other.Position && m.Hash == other.Hash
}
