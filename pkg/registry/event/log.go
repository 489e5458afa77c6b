package event

import "encoding/hex"

// LogRecovered: an administrator has accepted that the log is older than what
// backends hold (a database was restored from a backup). Their head marks are
// moved back to this log, and for a while nothing is removed anywhere.
type LogRecovered struct {
	LogID  string `cbor:"logId"`
	Reason string `cbor:"reason"` // the administrator's words
	// HoldSeconds is for how long after this event nothing is removed.
	HoldSeconds int64 `cbor:"holdSeconds"`
	// Marks that were found and are accepted, one a backend; at least one.
	Marks []AcceptedMark `cbor:"marks"`
}

// AcceptedMark is a head mark that this log does not have.
type AcceptedMark struct {
	BackendID string `cbor:"backendId"`
	Position  uint64 `cbor:"position"`
	Hash      []byte `cbor:"hash"`
}

// Kind implements Payload.
func (LogRecovered) Kind() string { return KindLogRecovered }

// Subject is the log's id.
func (e LogRecovered) Subject() string { return e.LogID }

func (e LogRecovered) describe() any {
	marks := make([]map[string]any, len(e.Marks))
	for i, m := range e.Marks {
		marks[i] = map[string]any{"backendId": m.BackendID, "position": m.Position, "hash": hex.EncodeToString(m.Hash)}
	}
	return map[string]any{"logId": e.LogID, "reason": e.Reason, "holdSeconds": e.HoldSeconds, "marks": marks}
}
