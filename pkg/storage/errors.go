package storage

import (
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// The sentinels. Each driver maps its vendor's errors to these in one place.
var (
	// ErrNotFound: the place answered and does not have the blob.
	ErrNotFound = errors.New("blob not found")
	// ErrMismatch: the bytes differ from the declaration. Always a *MismatchError.
	ErrMismatch = errors.New("the bytes do not match the declared digest or size")
	// ErrRange: the range is not inside the blob.
	ErrRange = errors.New("the range is outside the blob")
	// ErrUnreachable: the place did not answer (name, connection, TLS, timeout).
	ErrUnreachable = errors.New("the storage did not answer")
	// ErrDenied: the place refuses the credentials or the verb.
	ErrDenied = errors.New("the storage refused the credentials or the permission")
	// ErrNoPlace: the bucket or folder does not exist.
	ErrNoPlace = errors.New("the bucket or folder does not exist")
	// ErrFull: no space or quota is left.
	ErrFull = errors.New("the storage is full")
	// ErrThrottled: the place asks for fewer requests (429, SlowDown). It is not unhealthy.
	ErrThrottled = errors.New("the storage throttles requests")
	// ErrClass: the place refuses the configured storage class.
	ErrClass = errors.New("the storage refuses the storage class")
	// ErrTooLarge: the blob is larger than the place can store in one object.
	ErrTooLarge = errors.New("larger than the storage can store in one object")
	// ErrSource: reading the source failed; the place is not to blame.
	ErrSource = errors.New("the source was interrupted")
)

// MismatchError says which bytes were declared and which were received.
// errors.Is(err, ErrMismatch) is true.
type MismatchError struct {
	Want, Got         digest.Dual
	WantSize, GotSize int64 // WantSize is UnknownSize if no size was declared
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

// Check compares the received bytes with the declaration: nil or a *MismatchError.
func (src Source) Check(got digest.Dual, size int64) error {
	if (src.Size == UnknownSize || src.Size == size) && (src.Want.IsZero() || src.Want.Matches(got)) {
		return nil
	}
	return &MismatchError{Want: src.Want, Got: got, WantSize: src.Size, GotSize: size}
}
