package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// fileProgress answers how much has arrived.
func (h *handler) fileProgress(w *serving.Writer, r *http.Request) error {
	id, path := r.PathValue("id"), r.PathValue("path")
	progress, err := h.registry.FileProgress(r.Context(), id, path)
	if err != nil {
		return err
	}
	if older := h.appends.Find(id, path); len(older) > 0 {
		serving.EndAll(r.Context(), older)
		if progress, err = h.registry.FileProgress(r.Context(), id, path); err != nil {
			return err
		}
	}
	wire.WriteProgress(w.Header(), progress)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// appendFile takes the next bytes of a file.
func (h *handler) appendFile(w *serving.Writer, r *http.Request) error {
	if !wire.IsMediaType(r.Header.Get("Content-Type"), wire.PartialUpload) {
		return problemMedia.problem("", wire.At("Content-Type", "must be "+wire.PartialUpload))
	}
	piece, err := pieceOf(r)
	if err != nil {
		return err
	}
	id, path := r.PathValue("id"), r.PathValue("path")
	_, err = h.registry.FileProgress(r.Context(), id, path)
	if errors.Is(err, registry.ErrNotFound) { // the file may be one that was not declared
		_, err = h.registry.GetUpload(r.Context(), id)
	}
	if err != nil {
		return err
	}
	older, end := h.appends.Begin(id, path, w)
	defer end()
	serving.EndAll(r.Context(), older)
	// If the connection ends, the bytes that arrived before must still be stored:
	// the client resumes after them. A body that stops arriving ends by StallTimeout.
	ctx := context.WithoutCancel(r.Context())
	progress, err := h.registry.AppendFile(ctx, id, path, piece)
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
