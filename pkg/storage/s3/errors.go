package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// finding is the meaning of an answer or a failure.
type finding struct {
	kind   error
	reason string
	words  string
}

// byCode maps the codes in error bodies, never their texts, which some servers leave
// empty. Only NoSuchKey means that a blob is missing: without a code the SDK derives
// one from the status, and any server in place of the real one may send a 404.
var byCode = map[string]finding{
	"NoSuchBucket":      {storage.ErrNoPlace, storage.ReasonBucketNotFound, "the bucket does not exist"},
	"InvalidBucketName": {storage.ErrNoPlace, storage.ReasonBucketNotFound, "the server refuses the bucket's name"},
	"NoSuchKey":         {storage.ErrNotFound, storage.ReasonNotFound, storage.ErrNotFound.Error()},
	"NoSuchUpload":      {storage.ErrUnreachable, storage.ReasonServerFailed, "the upload does not exist any more"},
	"InvalidRange":      {storage.ErrRange, storage.ReasonInvalidRequest, storage.ErrRange.Error()},

	"InvalidAccessKeyId":    {storage.ErrDenied, storage.ReasonAccessKeyUnknown, "the access key is unknown"},
	"XAdminUserNotFound":    {storage.ErrDenied, storage.ReasonAccessKeyUnknown, "the access key is unknown"},
	"SignatureDoesNotMatch": {storage.ErrDenied, storage.ReasonSecretKeyWrong, "the secret key does not belong to the access key, or a proxy changed the request (its Host or port, for example)"},
	"ExpiredToken":          {storage.ErrDenied, storage.ReasonCredentialsFailed, "the session token has expired"},
	"InvalidTokenId":        {storage.ErrDenied, storage.ReasonCredentialsFailed, "the session token is invalid"}, // MinIO's
	"InvalidToken":          {storage.ErrDenied, storage.ReasonCredentialsFailed, "the session token is invalid"},
	"AccessDenied":          {storage.ErrDenied, storage.ReasonAccessDenied, "access is denied"},
	"Forbidden":             {storage.ErrDenied, storage.ReasonAccessDenied, "access is denied"},
	"AllAccessDisabled":     {storage.ErrDenied, storage.ReasonAccessDenied, "access is disabled"},
	"UserSuspended":         {storage.ErrDenied, storage.ReasonAccessDenied, "the user is suspended"},
	"InvalidObjectState":    {storage.ErrDenied, storage.ReasonAccessDenied, "the object is archived and must be restored before it can be read"},
	"MethodNotAllowed":      {storage.ErrDenied, storage.ReasonAccessDenied, "the verb is not allowed"},

	"RequestTimeTooSkewed":         {storage.ErrDenied, storage.ReasonClockSkewed, "the clocks differ by more than 15 minutes"},
	"AuthorizationHeaderMalformed": {storage.ErrDenied, storage.ReasonRegionWrong, "the signature is for the wrong region"},
	"PermanentRedirect":            {storage.ErrDenied, storage.ReasonRegionWrong, "the bucket is in another region"},
	"IllegalLocationConstraint":    {storage.ErrDenied, storage.ReasonRegionWrong, "the bucket is in another region"},

	"QuotaExceeded":                  {storage.ErrFull, storage.ReasonFull, "the quota is used up"},
	"XMinioStorageFull":              {storage.ErrFull, storage.ReasonFull, "no space is left"},
	"XMinioAdminBucketQuotaExceeded": {storage.ErrFull, storage.ReasonFull, "the quota is used up"},
	"EntityTooLarge":                 {storage.ErrTooLarge, storage.ReasonTooLarge, storage.ErrTooLarge.Error()},

	// Not ServiceUnavailable, which the SDK also derives from a bare 503. Not
	// SlowDownRead and SlowDownWrite, with which MinIO reports that too few of its
	// drives answer: such a server is failing.
	"SlowDown":             throttled,
	"TooManyRequests":      throttled,
	"RequestLimitExceeded": throttled,
	"RequestThrottled":     throttled,
	"Throttling":           throttled,
	"ThrottlingException":  throttled,
	"RequestTimeout":       {storage.ErrUnreachable, storage.ReasonTimedOut, "the body did not arrive in time"},

	"BadDigest":                   damaged,
	"InvalidDigest":               damaged,
	"IncompleteBody":              damaged,
	"XAmzContentSHA256Mismatch":   damaged,
	"XAmzContentChecksumMismatch": damaged,
}

var (
	damaged   = finding{storage.ErrUnreachable, storage.ReasonDamagedInTransit, "the bytes were damaged in transit"}
	throttled = finding{storage.ErrThrottled, storage.ReasonThrottled, storage.ErrThrottled.Error()}
)

// errNotS3: something other than an S3 server answered.
var errNotS3 = errors.New("the answer is not from an S3 server")

// codePattern keeps everything but a code out of messages.
var codePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// failed turns an error of the SDK into a *storage.PlaceError, in this one place; nil
// stays nil. It drops the SDK's text, which may contain URLs and headers.
func (b *Backend) failed(ctx context.Context, verb string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s on %s: %w", verb, b.place, context.Canceled)
	}
	f, said := find(err), b.said(err)
	if said != "" {
		slog.DebugContext(ctx, "the storage refused a request", "verb", verb, "bucket", b.config.Bucket, "endpoint", b.place, "status", statusOf(err), "said", said)
	}
	// No permission helps against other refusals. If the answer has no body, like
	// that to a HEAD, the SDK derives Forbidden from its status.
	if isCode(err, "AccessDenied", "Forbidden") && !isForeign(err) {
		f.words += permission(verb)
	}
	var refused *classError
	if f.kind == nil && errors.As(err, &refused) {
		f = refused.finding()
	}
	var cause error
	if ctx.Err() != nil {
		f = finding{storage.ErrUnreachable, storage.ReasonTimedOut, "no answer before the deadline"}
		cause = ctx.Err()
	}
	return &storage.PlaceError{
		Kind: f.kind, Reason: f.reason, Cause: cause, Said: said,
		Message: fmt.Sprintf("%s in bucket %s on %s: %s", verb, b.config.Bucket, b.place, f.words),
	}
}

// permissions that the requests of a verb need, spelled as in policies.
var permissions = map[string]string{
	"list":               "s3:ListBucket",
	"head":               "s3:GetObject",
	"get":                "s3:GetObject",
	"get the marker":     "s3:GetObject",
	"put":                "s3:PutObject",
	"upload a part":      "s3:PutObject",
	"put the marker":     "s3:PutObject",
	"begin an upload":    "s3:PutObject",
	"complete an upload": "s3:PutObject",
	"copy":               "s3:GetObject and s3:PutObject",
	"copy a part":        "s3:GetObject and s3:PutObject",
	"delete":             "s3:DeleteObject",
	"abort an upload":    "s3:AbortMultipartUpload",
	"list parts":         "s3:ListMultipartUploadParts",
	"list uploads":       "s3:ListBucketMultipartUploads",
}

// permission returns the clause about what a denied verb needs, or "".
func permission(verb string) string {
	if name := permissions[verb]; name != "" {
		return "; this needs " + name
	}
	return ""
}

func find(err error) finding {
	var answer *smithyhttp.ResponseError
	answered := errors.As(err, &answer) && answer.Response != nil && answer.HTTPStatusCode() != 0
	var api smithy.APIError
	errors.As(err, &api)
	var page *refusal // of something before the server
	if answered && !broken(answer) {
		page, _ = foreign(answer, api)
	}
	if page != nil && foreignStatuses[answer.HTTPStatusCode()] {
		return page.findForeign(answer.HTTPStatusCode())
	}
	if api != nil {
		if f, ok := byCode[api.ErrorCode()]; ok {
			return f
		}
	}
	if answered && !broken(answer) {
		f := findByStatus(answer.HTTPStatusCode(), api)
		if page != nil && page.via != "" {
			f.words = page.words(answer.HTTPStatusCode())
		}
		return f
	}
	if errors.Is(err, errNoCredentials) {
		return finding{storage.ErrDenied, storage.ReasonCredentialsFailed, errNoCredentials.Error()}
	}
	return findConnection(err)
}

func findByStatus(status int, api smithy.APIError) finding {
	words := fmt.Sprintf("the server answered %d", status)
	if api != nil && codePattern.MatchString(api.ErrorCode()) {
		words += " " + api.ErrorCode()
	}
	switch {
	case status == http.StatusNotFound && !hasCode(status, api):
		return finding{storage.ErrUnreachable, storage.ReasonNotS3, errNotS3.Error()}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return finding{storage.ErrDenied, storage.ReasonAccessDenied, words}
	case status == http.StatusInsufficientStorage:
		return finding{storage.ErrFull, storage.ReasonFull, words}
	case status == http.StatusTooManyRequests:
		// Not 503: without a code a proxy sends it when no server is behind it,
		// with or without Retry-After, and a Head gets it because its answer has no
		// body with details.
		return finding{storage.ErrThrottled, storage.ReasonThrottled, words}
	case status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect:
		return finding{storage.ErrDenied, storage.ReasonRegionWrong, words}
	case status == http.StatusNotImplemented:
		return finding{nil, storage.ReasonInvalidRequest, words} // a definite answer: a retry would get the same
	case status >= 500:
		return finding{storage.ErrUnreachable, storage.ReasonServerFailed, words}
	}
	return finding{nil, storage.ReasonInvalidRequest, words}
}

// hasCode reports whether the answer's body had a code, as opposed to one that the SDK
// derives from the status.
func hasCode(status int, api smithy.APIError) bool {
	return api != nil && api.ErrorCode() != "" && api.ErrorCode() != strings.ReplaceAll(http.StatusText(status), " ", "")
}

// findConnection distinguishes the causes of a missing answer.
func findConnection(err error) finding {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		timeout   net.Error
	)
	unreachable := func(reason, words string) finding { return finding{storage.ErrUnreachable, reason, words} }
	if f, ok := findProxy(err); ok {
		return f
	}
	switch {
	case errors.As(err, &dns):
		// The name is not always the endpoint's: without path style it begins with the bucket.
		return unreachable(storage.ReasonNameNotResolved, fmt.Sprintf("the host name %.300q does not resolve", dns.Name))
	case errors.As(err, &authority):
		return unreachable(storage.ReasonTLSNotTrusted, "the certificate is signed by an unknown authority")
	case errors.As(err, &host):
		return unreachable(storage.ReasonTLSNotTrusted, "the certificate is for another host")
	case errors.As(err, &invalid), errors.As(err, &verify):
		return unreachable(storage.ReasonTLSNotTrusted, "the certificate is invalid")
	case errors.As(err, &record), errors.As(err, &alert), errors.Is(err, http.ErrSchemeMismatch):
		return unreachable(storage.ReasonTLSFailed, "the TLS handshake failed")
	case errors.Is(err, syscall.ECONNREFUSED):
		return unreachable(storage.ReasonConnectionRefused, "the connection was refused")
	case errors.As(err, &timeout) && timeout.Timeout():
		return unreachable(storage.ReasonTimedOut, "no answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, net.ErrClosed): // from the transport, which could not write the rest of a request
		return unreachable(storage.ReasonConnectionLost, "the connection was lost")
	case errors.As(err, new(*smithyhttp.RequestSendError)):
		return unreachable(storage.ReasonConnectionLost, "the request could not be sent")
	case errors.Is(err, errNotS3), errors.As(err, new(*smithy.DeserializationError)):
		return unreachable(storage.ReasonNotS3, errNotS3.Error())
	}
	return finding{nil, storage.ReasonUnknown, "the request failed for an unknown reason"}
}

// isForeign reports whether the error is an answer that is not the S3 server's.
func isForeign(err error) bool {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return false
	}
	var api smithy.APIError
	errors.As(err, &api)
	_, is := foreign(answer, api)
	return is
}

// statusOf returns the answer's status, 0 if there was no answer.
func statusOf(err error) int {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil {
		return answer.HTTPStatusCode()
	}
	return 0
}
