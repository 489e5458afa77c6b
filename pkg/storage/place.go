package storage

import (
	"context"
	"errors"
)

// Reasons why a place is unusable: CamelCase words for conditions, metrics and
// logs. The set may grow.
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
	ReasonServerFailed      = "ServerFailed" // the server answered 5xx
	ReasonNotS3             = "NotS3"        // the answer is not from an S3 server
	ReasonProxyRefused      = "ProxyRefused" // a forward proxy refused the request
	ReasonFull              = "Full"
	ReasonReadOnly          = "ReadOnly"
	ReasonSyncUnsupported   = "SyncUnsupported" // the file system cannot make what is stored durable
	ReasonTooLarge          = "TooLarge"
	ReasonDamagedInTransit  = "DamagedInTransit"
	ReasonChanged           = "Changed"        // the object was replaced while being read
	ReasonInvalidRequest    = "InvalidRequest" // the server answered another 4xx, or 501
	ReasonClassRefused      = "StorageClassRefused"
	ReasonSSERefused        = "EncryptionRefused"
	ReasonNotFound          = "NotFound"
	ReasonNotAFile          = "NotAFile" // a named pipe, folder or device is in the place of an object
	ReasonMismatch          = "Mismatch"
	ReasonCancelled         = "Cancelled"
	ReasonUnknown           = "Unknown"
)

// PlaceError describes what is wrong with a place, in the driver's words. It wraps
// the sentinel that callers decide by. Its text consists of fixed words, names and
// vendor codes: no vendor text, no URL with a query, no header, no secret.
type PlaceError struct {
	// Kind is the sentinel; nil if none applies.
	Kind error
	// Reason is one of the Reason constants.
	Reason string
	// Message is one sentence for people.
	Message string
	// Cause is kept for errors.Is (the end of a context); it is not printed.
	Cause error
	// Said is what the server, or a proxy before it, wrote into its answer: one line,
	// without credentials. It is for people who look for the cause, and not printed.
	Said string
}

func (e *PlaceError) Error() string { return e.Message }

// Unwrap returns Kind and Cause.
func (e *PlaceError) Unwrap() []error {
	var wrapped []error
	for _, err := range []error{e.Kind, e.Cause} {
		if err != nil {
			wrapped = append(wrapped, err)
		}
	}
	return wrapped
}

// SaidBy returns what the place itself wrote about an error; "" for nothing.
func SaidBy(err error) string {
	if place := (*PlaceError)(nil); errors.As(err, &place) {
		return place.Said
	}
	return ""
}

// ReasonOf returns the CamelCase reason of an error from a Store: that of the
// wrapped PlaceError, otherwise that of its sentinel, otherwise Unknown; "" for nil.
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
