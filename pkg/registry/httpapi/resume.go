package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Header fields and media type of draft-ietf-httpbis-resumable-upload (interop
// version 8). The upload resource is the file's own address, which exists from
// its declaration, so a client need not ask for one. Left out of what the draft
// wishes: interim answers (104).
const (
	uploadOffset   = "Upload-Offset"
	uploadComplete = "Upload-Complete"
	uploadLength   = "Upload-Length"
	uploadLimit    = "Upload-Limit"
	partialUpload  = "application/partial-upload"
)

// problemOffset is the draft's problem type for an offset that is not the next byte.
var problemOffset = kind{
	code: "https://iana.org/assignments/http-problem-types#mismatching-upload-offset", status: http.StatusConflict,
	title: "The bytes do not begin where the file ends",
}

// problemLength is the draft's problem type for two lengths that differ.
var problemLength = kind{
	code: "https://iana.org/assignments/http-problem-types#inconsistent-upload-length", status: http.StatusBadRequest,
	title: "The file was said to have another length",
}

// fileProgress answers how much has arrived.
func (h *handler) fileProgress(w *responseWriter, r *http.Request) error {
	progress, err := h.registry.FileProgress(r.Context(), r.PathValue("id"), r.PathValue("path"))
	if err != nil {
		return err
	}
	writeProgress(w.Header(), progress)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// appendFile takes the next bytes of a file.
func (h *handler) appendFile(w *responseWriter, r *http.Request) error {
	if !isMediaType(r.Header.Get("Content-Type"), partialUpload) {
		return problemMedia.problem("", FieldError{"Content-Type", "must be " + partialUpload})
	}
	piece, err := pieceOf(r)
	if err != nil {
		return err
	}
	// The connection's end ends the body, and must not end the storing of what
	// came before: that is what resuming is for. A body without an end ends by StallTimeout.
	ctx := context.WithoutCancel(r.Context())
	progress, err := h.registry.AppendFile(ctx, r.PathValue("id"), r.PathValue("path"), piece)
	if err != nil {
		if piece.Complete && errors.Is(err, storage.ErrMismatch) {
			// The whole was judged: going on from an offset does not mend it.
			w.Header().Set(uploadComplete, formatBool(true))
		}
		return err
	}
	writeProgress(w.Header(), progress)
	return sendJSON(w, http.StatusOK, progress)
}

// pieceOf reads what a PATCH says of its bytes.
func pieceOf(r *http.Request) (piece registry.Piece, err error) {
	if piece.Offset, err = strconv.ParseInt(r.Header.Get(uploadOffset), 10, 64); err != nil || piece.Offset < 0 {
		return piece, registry.Invalid(uploadOffset, "must be the number of bytes that have arrived")
	}
	if piece.Complete, err = parseBool(uploadComplete, r.Header.Get(uploadComplete)); err != nil {
		return piece, err
	}
	piece.Length = storage.UnknownSize
	if text := r.Header.Get(uploadLength); text != "" {
		if piece.Length, err = strconv.ParseInt(text, 10, 64); err != nil || piece.Length < 0 {
			return piece, registry.Invalid(uploadLength, "must be the number of bytes of the whole file")
		}
	}
	if piece.Content, err = contentOf(r); err != nil {
		return piece, err
	}
	if piece.Digests, err = digestsIn(r.Header, reprDigest); err != nil {
		return piece, err
	}
	piece.ContentDigests, err = digestsIn(r.Header, contentDigest)
	return piece, err
}

func writeProgress(header http.Header, progress registry.FileProgress) {
	header.Set(uploadOffset, strconv.FormatInt(progress.Offset, 10))
	header.Set(uploadComplete, formatBool(progress.Complete))
	limit := "max-size=" + strconv.FormatInt(manifest.MaxFileSize, 10)
	if left := time.Until(progress.Expires); left > 0 {
		limit += ", max-age=" + strconv.FormatInt(int64(left.Seconds()), 10)
	}
	header.Set(uploadLimit, limit)
	if progress.Size != nil {
		header.Set(uploadLength, strconv.FormatInt(*progress.Size, 10))
	}
	if digests := formatDigests(progress.Digests); digests != "" {
		header.Set(reprDigest, digests)
	}
}

// readProgress is its inverse.
func readProgress(path string, header http.Header) (registry.FileProgress, error) {
	progress := registry.FileProgress{Path: path}
	var err error
	if progress.Offset, err = strconv.ParseInt(header.Get(uploadOffset), 10, 64); err != nil {
		return progress, registry.Invalid(uploadOffset, "of the answer is not a number")
	}
	if progress.Complete, err = parseBool(uploadComplete, header.Get(uploadComplete)); err != nil {
		return progress, err
	}
	if text := header.Get(uploadLength); text != "" {
		size, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return progress, registry.Invalid(uploadLength, "of the answer is not a number")
		}
		progress.Size = &size
	}
	progress.Digests, err = declaredDigests(header)
	return progress, err
}

// Booleans of structured fields (RFC 8941, section 3.3.6).
func formatBool(value bool) string {
	if value {
		return "?1"
	}
	return "?0"
}

func parseBool(field, text string) (bool, error) {
	switch text {
	case "?1":
		return true, nil
	case "?0":
		return false, nil
	}
	return false, registry.Invalid(field, "must be ?1 or ?0")
}
