package storage

import (
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// The sentinels. Drivers map their vendor's errors to these at the edge, once.
var (
	// ErrNotFound: the place answered and has no such blob.
	ErrNotFound = errors.New("no such blob")
	// ErrMismatch: bytes are not what was declared. Always a *MismatchError.
	ErrMismatch = errors.New("the bytes do not match what was declared")
	// ErrRange: the range does not lie within the blob.
	ErrRange = errors.New("the range lies outside the blob")
	// ErrUnreachable: the place did not answer (name, connection, TLS, time-out).
	ErrUnreachable = errors.New("the storage did not answer")
	// ErrDenied: the place refuses the credentials or the verb.
	ErrDenied = errors.New("the storage refused the credentials or the permission")
	// ErrNoPlace: the bucket or folder does not exist.
	ErrNoPlace = errors.New("the bucket or folder does not exist")
	// ErrFull: no space or quota is left.
	ErrFull = errors.New("the storage is full")
	// ErrThrottled: the place asks for fewer requests (429, SlowDown). It is not unhealthy.
	ErrThrottled = errors.New("the storage asks for fewer requests")
	// ErrClass: the place does not take the class of storage that it is configured to ask for.
	ErrClass = errors.New("the storage does not take the storage class")
	// ErrTooLarge: the blob is larger than the place can hold in one object.
	ErrTooLarge = errors.New("larger than the storage can hold in one object")
	// ErrSource: reading the source broke off; the place is not to blame.
	ErrSource = errors.New("the source broke off")
)

// MismatchError says which bytes were declared and which came. errors.Is(err,
// ErrMismatch) holds.
type MismatchError struct {
	Want, Got         digest.Dual
	WantSize, GotSize int64 // WantSize is UnknownSize where none was declared
}

func (e *MismatchError) Error() string {
	if e.WantSize != UnknownSize && e.WantSize != e.GotSize {
		return fmt.Sprintf("declared %d bytes, got %d", e.WantSize, e.GotSize)
	}
	if !e.Want.SHA256.IsZero() && e.Want.SHA256 != e.Got.SHA256 {
		return fmt.Sprintf("declared %s, got %s", e.Want.SHA256, e.Got.SHA256)
	}
	return fmt.Sprintf("declared %s, got %s", e.Want.BLAKE3, e.Got.BLAKE3)
}

// Is makes every MismatchError an ErrMismatch.
func (e *MismatchError) Is(target error) bool { return target == ErrMismatch }

// Check compares what came with what was declared: nil or a *MismatchError.
func (src Source) Check(got digest.Dual, size int64) error {
	if (src.Size == UnknownSize || src.Size == size) && (src.Want.IsZero() || src.Want.Matches(got)) {
		return nil
	}
	return &MismatchError{Want: src.Want, Got: got, WantSize: src.Size, GotSize: size}
}
