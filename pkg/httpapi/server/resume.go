package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// appends are the requests of this process that add bytes to a file now.
type appends struct {
	mu      sync.Mutex
	running map[fileKey]*appending
}

type fileKey struct{ upload, path string }

func keyOf(r *http.Request) fileKey { return fileKey{r.PathValue("id"), r.PathValue("path")} }

type appending struct {
	interrupt func()
	done      chan struct{}
}

// begin notes a request until the function is called that it returns.
func (a *appends) begin(key fileKey, interrupt func()) func() {
	one := &appending{interrupt, make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running[key] = one
	return func() {
		close(one.done)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.running[key] == one {
			delete(a.running, key)
		}
	}
}

// endOlder ends an older request that still adds to the file, and waits until
// what it brought is stored: its client has given it up, or it would not ask
// (the draft, "Concurrency"). The offset that it then gets stays right. Who may
// not see the file ends nothing.
func (h *handler) endOlder(r *http.Request) {
	h.appends.mu.Lock()
	older := h.appends.running[keyOf(r)]
	h.appends.mu.Unlock()
	if older == nil {
		return
	}
	if _, err := h.registry.FileProgress(r.Context(), r.PathValue("id"), r.PathValue("path")); err != nil {
		return // the caller gets the same error
	}
	older.interrupt()
	select {
	case <-older.done:
	case <-r.Context().Done():
	case <-time.After(appendPatience):
	}
}

// fileProgress answers how much has arrived.
func (h *handler) fileProgress(w *serving.Writer, r *http.Request) error {
	h.endOlder(r)
	progress, err := h.registry.FileProgress(r.Context(), r.PathValue("id"), r.PathValue("path"))
	if err != nil {
		return err
	}
	wire.WriteProgress(w.Header(), progress)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// appendFile takes the next bytes of a file.
func (h *handler) appendFile(w *serving.Writer, r *http.Request) error {
	if !isMediaType(r.Header.Get("Content-Type"), wire.PartialUpload) {
		return problemMedia.problem("", wire.At("Content-Type", "must be "+wire.PartialUpload))
	}
	piece, err := pieceOf(r)
	if err != nil {
		return err
	}
	h.endOlder(r)
	defer h.appends.begin(keyOf(r), w.Interrupt)()
	// If the connection ends, the bytes that arrived before must still be stored:
	// the client resumes after them. A body that stops arriving ends by StallTimeout.
	ctx := context.WithoutCancel(r.Context())
	progress, err := h.registry.AppendFile(ctx, r.PathValue("id"), r.PathValue("path"), piece)
	if err != nil {
		if piece.Complete && errors.Is(err, storage.ErrMismatch) {
			// The whole file was checked: resuming from an offset would not help.
			w.Header().Set(wire.UploadComplete, wire.FormatBool(true))
		}
		return err
	}
	wire.WriteProgress(w.Header(), progress)
	return sendJSON(w, http.StatusOK, progress)
}

// pieceOf reads what a PATCH says about its bytes.
func pieceOf(r *http.Request) (piece registry.Piece, err error) {
	if piece.Offset, err = strconv.ParseInt(r.Header.Get(wire.UploadOffset), 10, 64); err != nil || piece.Offset < 0 {
		return piece, registry.Invalid(wire.UploadOffset, "must be the number of bytes that have arrived")
	}
	if piece.Complete, err = wire.ParseBool(wire.UploadComplete, r.Header.Get(wire.UploadComplete)); err != nil {
		return piece, err
	}
	piece.Length = storage.UnknownSize
	if r.Header.Get(wire.UploadLength) != "" {
		if piece.Length, err = uploadLength(r); err != nil {
			return piece, err
		}
	}
	if piece.Content, err = contentOf(r); err != nil {
		return piece, err
	}
	if piece.Digests, err = wire.DigestsIn(r.Header, wire.ReprDigest); err != nil {
		return piece, err
	}
	piece.ContentDigests, err = wire.DigestsIn(r.Header, wire.ContentDigest)
	return piece, err
}

func uploadLength(r *http.Request) (int64, error) {
	length, err := strconv.ParseInt(r.Header.Get(wire.UploadLength), 10, 64)
	if err != nil || length < 0 {
		return 0, registry.Invalid(wire.UploadLength, "must be the size of the whole file in bytes")
	}
	return length, nil
}
