package storage

import (
	"context"
	"errors"
)

// Reasons that a place is of no use now: CamelCase words for conditions,
// metrics and logs. Their set may grow.
const (
	ReasonBucketNotFound    = "BucketNotFound"
	ReasonFolderNotFound    = "FolderNotFound"
	ReasonAccessKeyUnknown  = "AccessKeyUnknown"
	ReasonSecretKeyWrong    = "SecretKeyWrong"
	ReasonCredentialsFailed = "CredentialsFailed" // none could be obtained
	ReasonAccessDenied      = "AccessDenied"
	ReasonClockSkewed       = "ClockSkewed"
	ReasonRegionWrong       = "RegionWrong"
	ReasonNameNotResolved   = "NameNotResolved"
	ReasonConnectionRefused = "ConnectionRefused"
	ReasonConnectionLost    = "ConnectionLost"
	ReasonTLSNotTrusted     = "TLSNotTrusted"
	ReasonTLSFailed         = "TLSFailed"
	ReasonTimedOut          = "TimedOut"
	ReasonThrottled         = "Throttled"
	ReasonServerFailed      = "ServerFailed" // it answered 5xx
	ReasonNotS3             = "NotS3"        // something answered that is no S3 server
	ReasonFull              = "Full"
	ReasonReadOnly          = "ReadOnly"
	ReasonTooLarge          = "TooLarge"
	ReasonDamagedInTransit  = "DamagedInTransit"
	ReasonChanged           = "Changed"        // the object was replaced while it was read
	ReasonInvalidRequest    = "InvalidRequest" // it answered another 4xx, or 501
	ReasonClassRefused      = "StorageClassRefused"
	ReasonSSERefused        = "EncryptionRefused"
	ReasonNotFound          = "NotFound"
	ReasonMismatch          = "Mismatch"
	ReasonCancelled         = "Cancelled"
	ReasonUnknown           = "Unknown"
)

// PlaceError says in a driver's words what is wrong with a place. It wraps the
// sentinel that callers decide by. Its text is made of fixed words, names and
// vendor codes: no vendor text, URL with a query, header or secret.
type PlaceError struct {
	// Kind is the sentinel; nil where none applies.
	Kind error
	// Reason is one of the Reason constants.
	Reason string
	// Message is one sentence for people.
	Message string
	// Cause is kept for errors.Is (a context's end); it is not printed.
	Cause error
}

func (e *PlaceError) Error() string { return e.Message }

// Unwrap gives Kind and Cause.
func (e *PlaceError) Unwrap() []error {
	var wrapped []error
	for _, err := range []error{e.Kind, e.Cause} {
		if err != nil {
			wrapped = append(wrapped, err)
		}
	}
	return wrapped
}

// ReasonOf returns the CamelCase reason of an error from a Store: that of the
// PlaceError within, else the one of its sentinel, else Unknown; "" for nil.
func ReasonOf(err error) string {
	if err == nil {
		return ""
	}
	if place := (*PlaceError)(nil); errors.As(err, &place) {
		return place.Reason
	}
	for _, known := range []struct {
		kind   error
		reason string
	}{
		{ErrNotFound, ReasonNotFound},
		{ErrMismatch, ReasonMismatch},
		{ErrDenied, ReasonAccessDenied},
		{ErrNoPlace, ReasonFolderNotFound},
		{ErrFull, ReasonFull},
		{ErrThrottled, ReasonThrottled},
		{ErrTooLarge, ReasonTooLarge},
		{context.Canceled, ReasonCancelled},
		{context.DeadlineExceeded, ReasonTimedOut},
		{ErrUnreachable, ReasonConnectionLost},
	} {
		if errors.Is(err, known.kind) {
			return known.reason
		}
	}
	return ReasonUnknown
}
