package eventlog

import (
	"crypto/sha256"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// preimage is what a record's hash covers, in this order, for ever.
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

var encoding = func() cbor.EncMode {
	options := cbor.CoreDetEncOptions()
	options.NilContainers = cbor.NilContainerAsEmpty // no payload is an empty one, not null
	mode, err := options.EncMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return mode
}()

// ComputeHash returns what Hash must be, given the other fields.
func (r Record) ComputeHash() ([32]byte, error) {
	encoded, err := encoding.Marshal(preimage{
		Position: r.Position, Time: r.Time.UnixMicro(),
		Kind: r.Kind, Actor: r.Actor, Subject: r.Subject,
		Payload: r.Payload, Previous: r.Previous[:],
	})
	if err != nil {
		return [32]byte{}, fmt.Errorf("encoding record %d: %w", r.Position, err)
	}
	return sha256.Sum256(encoded), nil
}
