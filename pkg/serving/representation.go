package serving

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Representation is what a GET or HEAD answers with: bytes that never change.
type Representation struct {
	// Head and Open are asked at most once each, and only what the request
	// needs. Open with a nil range opens the whole.
	Head func(context.Context) (Info, error)
	Open func(context.Context, *storage.Range) (io.ReadCloser, Info, error)
	// Describe sets the header fields of the answer, except those of its length and range.
	Describe func(http.Header, Info)
}

// Info describes the bytes. Size is their number.
type Info struct {
	Digests digest.Dual
	Size    int64
}

// Send answers a GET or HEAD with its conditions and its range. A plain GET
// opens the bytes without asking for their size before: only a condition or a range needs it.
func Send(w *Writer, r *http.Request, what Representation) error {
	ctx := r.Context()
	wantsRange := r.Method == http.MethodGet && r.Header.Get("Range") != ""
	if r.Method == http.MethodGet && !wantsRange && r.Header.Get("If-None-Match") == "" {
		body, info, err := what.Open(ctx, nil)
		if err != nil {
			return err
		}
		return what.sendBody(w, body, info, nil)
	}
	info, err := what.Head(ctx)
	if err != nil {
		return err
	}
	tag := ETag(info.Digests.SHA256)
	if notModified(r.Header, tag) {
		what.Describe(w.Header(), info)
		w.Header().Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if r.Method == http.MethodHead {
		what.Describe(w.Header(), info)
		w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
		w.WriteHeader(http.StatusOK)
		return nil
	}
	var rng *storage.Range
	if wantsRange && rangeApplies(r.Header, tag) {
		if rng, err = parseRange(r.Header.Get("Range"), info.Size); err != nil {
			w.Header().Set("Content-Range", contentRange(nil, info.Size))
			return err
		}
	}
	body, info, err := what.Open(ctx, rng)
	if err != nil {
		return err
	}
	return what.sendBody(w, body, info, rng)
}

// sendBody copies without a wrapper: the reader's WriteTo meets the writer's
// ReadFrom, and a file is sent by sendfile.
func (what *Representation) sendBody(w *Writer, body io.ReadCloser, info Info, rng *storage.Range) error {
	defer body.Close()
	length, status := info.Size, http.StatusOK
	what.Describe(w.Header(), info)
	if rng != nil {
		length, status = rng.Length, http.StatusPartialContent
		w.Header().Set("Content-Range", contentRange(rng, info.Size))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	w.WriteHeader(status)
	sent, err := io.Copy(w, body)
	if err == nil && sent != length {
		err = fmt.Errorf("the backend returned %d of %d bytes", sent, length)
	}
	return err
}
