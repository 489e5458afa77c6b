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
	payload := r.Payload
	if payload == nil {
		payload = []byte{} // no payload is encoded as an empty one, not as null
	}
	encoded, err := canonical.Marshal(preimage{
		Position: r.Position, Time: r.Time.UnixMicro(),
		Kind: r.Kind, Actor: r.Actor, Subject: r.Subject,
		Payload: payload, Previous: r.Previous[:],
	})
	if err != nil {
		return [32]byte{}, fmt.Errorf("encoding record %d: %w", r.Position, err)
	}
	return sha256.Sum256(encoded), nil
}
