package eventlog

import (
	"crypto/sha256"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/canonical"
)

// preimage is what a record's hash covers, in this order. It never changes.
type preimage struct {
	_        struct{} `cbor:",toarray"`
	Position uint64
	Time     int64
	Kind     string
	Actor    string
	Subject  string
	Payload  []byte
	Previous []byte
}

// ComputeHash computes Hash from the other fields.
func (r Record) ComputeHash() ([32]byte, error) {
	encoded, err := canonical.Marshal(preimage{
		Position: r.Position, Time: r.Time.UnixMicro(),
		Kind: r.Kind, Actor: r.Actor, Subject: r.Subject,
		Payload: []byte{}, Previous: r.Previous[:],
	})
	if err != nil {
		return [32]byte{}, fmt.Errorf("encoding record %d: %w", r.Position, err)
	}
	// The payload may have tens of megabytes, so it is hashed where it is. In the
	// encoding it is empty, one byte before the last 34: a head of two and Previous.
	before, after := encoded[:len(encoded)-35], encoded[len(encoded)-34:]
	hash := sha256.New() // it never fails
	hash.Write(before)
	hash.Write(canonical.AppendBytesHead(nil, len(r.Payload)))
	hash.Write(r.Payload)
	hash.Write(after)
	return [32]byte(hash.Sum(nil)), nil
}
