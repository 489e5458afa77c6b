package faultproxy

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Kind is what a request asks of an S3 server.
type Kind string

// The kinds that are told apart; anything else is Other.
const (
	PutObject               Kind = "PutObject"
	CopyObject              Kind = "CopyObject"
	CreateMultipartUpload   Kind = "CreateMultipartUpload"
	UploadPart              Kind = "UploadPart"
	UploadPartCopy          Kind = "UploadPartCopy"
	CompleteMultipartUpload Kind = "CompleteMultipartUpload"
	AbortMultipartUpload    Kind = "AbortMultipartUpload"
	ListParts               Kind = "ListParts"
	ListMultipartUploads    Kind = "ListMultipartUploads"
	GetObject               Kind = "GetObject"
	HeadObject              Kind = "HeadObject"
	DeleteObject            Kind = "DeleteObject"
	ListObjects             Kind = "ListObjects"
	Other                   Kind = "Other"
)

// KindOf tells what a path-style request asks.
func KindOf(r *http.Request) Kind {
	query := r.URL.Query()
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	copies := r.Header.Get("X-Amz-Copy-Source") != ""
	switch {
	case key == "" && r.Method == http.MethodGet && query.Has("uploads"):
		return ListMultipartUploads
	case key == "" && r.Method == http.MethodGet && query.Has("list-type"):
		return ListObjects
	case key == "":
		return Other
	case r.Method == http.MethodPut && query.Has("partNumber") && copies:
		return UploadPartCopy
	case r.Method == http.MethodPut && query.Has("partNumber"):
		return UploadPart
	case r.Method == http.MethodPut && copies:
		return CopyObject
	case r.Method == http.MethodPut:
		return PutObject
	case r.Method == http.MethodPost && query.Has("uploads"):
		return CreateMultipartUpload
	case r.Method == http.MethodPost && query.Has("uploadId"):
		return CompleteMultipartUpload
	case r.Method == http.MethodDelete && query.Has("uploadId"):
		return AbortMultipartUpload
	case r.Method == http.MethodDelete:
		return DeleteObject
	case r.Method == http.MethodGet && query.Has("uploadId"):
		return ListParts
	case r.Method == http.MethodGet:
		return GetObject
	case r.Method == http.MethodHead:
		return HeadObject
	}
	return Other
}

// Where is the moment of an exchange at which a fault strikes.
type Where string

// The moments.
const (
	// BeforeRequest: the server never sees the request.
	BeforeRequest Where = "before the request"
	// InRequest: After bytes of the request's body have been passed on.
	InRequest Where = "in the request"
	// BeforeAnswer: the server has answered, and the client knows nothing of it.
	BeforeAnswer Where = "before the answer"
	// InAnswer: the answer's head and After bytes of its body have been passed
	// on. It never strikes an answer without a body.
	InAnswer Where = "in the answer"
)

// Action is what a fault does.
type Action string

// The actions.
const (
	// Reset ends both connections with RST.
	Reset Action = "reset"
	// Stall moves nothing more until the client goes away. After Pause what
	// it still sends is dropped: behind it comes the news that it has gone.
	Stall Action = "stall"
	// Truncate ends both connections with FIN.
	Truncate Action = "truncate"
	// Corrupt turns one bit of the byte behind After; InRequest and InAnswer only.
	Corrupt Action = "corrupt"
	// Answer gives Status, Code or Page, and RetryAfter as the server's answer; not InAnswer.
	Answer Action = "answer"
	// Drip passes on what follows After in pieces of Piece bytes with a Pause
	// before each; InRequest and InAnswer only.
	Drip Action = "drip"
)

// Fault is one thing that goes wrong. The zero Nth means the first request that
// matches; empty fields of Kind, Key and Part match all.
//
// A proxy of bytes (TCP) knows no requests: there only Where, After, Always and
// the action count, InRequest means bytes from the client, InAnswer bytes to
// it, and After counts them for each connection from Arm on.
type Fault struct {
	Kind Kind
	Key  string // a part of the path
	Part int    // the part's number

	Nth    int  // strikes this one of the requests that match, counted from 1
	Always bool // strikes it and every one after it

	Where Where
	After int64 // bytes of the body

	Action     Action
	Status     int           // of Answer
	Code       string        // of Answer, as an S3 server says it
	Page       string        // of Answer without Code: the body, as another says it; empty for none
	RetryAfter time.Duration // of Answer, whole seconds; 0 for none
	Piece      int64         // of Drip, in bytes
	Pause      time.Duration // of Drip; of Stall, 0 for 4 s
}

// matches tells whether the fault is meant for this request.
func (f Fault) matches(e Exchange) bool {
	return (f.Kind == "" || f.Kind == e.Kind) && (f.Part == 0 || f.Part == e.Part) && strings.Contains(e.Path, f.Key)
}

// armed is a fault with what happened to it so far.
type armed struct {
	Fault
	met    int // requests that matched
	struck int
}

// strikes counts one more match and says whether it is struck.
func (a *armed) strikes() bool {
	a.met++
	nth := max(1, a.Nth)
	return a.met == nth || a.Always && a.met > nth
}

// partOf returns the number of the part that a request is about, 0 for none.
func partOf(r *http.Request) int {
	number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	if err != nil {
		return 0
	}
	return number
}
