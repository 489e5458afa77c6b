package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// Header fields and media type of draft-ietf-httpbis-resumable-upload-15. The
// upload resource is the file's own address, which exists from its
// declaration, so a client need not ask for one.
const (
	uploadOffset   = "Upload-Offset"
	uploadComplete = "Upload-Complete"
	uploadLength   = "Upload-Length"
	partialUpload  = "application/partial-upload"
)

// problemOffset is the draft's problem type for an offset that is not the next byte.
var problemOffset = kind{
	code: "https://iana.org/assignments/http-problem-types#mismatching-upload-offset", status: http.StatusConflict,
	title: "The bytes do not begin where the file ends",
}

// fileProgress answers how much has arrived.
func (h *handler) fileProgress(w *responseWriter, r *http.Request) error {
	progress, err := h.registry.FileProgress(r.Context(), r.PathValue("id"), r.PathValue("path"))
	if err != nil {
		return err
	}
	writeProgress(w.Header(), progress)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// appendFile takes the next bytes of a file.
func (h *handler) appendFile(w *responseWriter, r *http.Request) error {
	if !isMediaType(r.Header.Get("Content-Type"), partialUpload) {
		return problemMedia.problem("", FieldError{"Content-Type", "must be " + partialUpload})
	}
	offset, err := strconv.ParseInt(r.Header.Get(uploadOffset), 10, 64)
	if err != nil || offset < 0 {
		return registry.Invalid(uploadOffset, "must be the number of bytes that have arrived")
	}
	complete, err := parseBool(uploadComplete, r.Header.Get(uploadComplete))
	if err != nil {
		return err
	}
	content, err := contentOf(r)
	if err != nil {
		return err
	}
	// The connection's end ends the body, and must not end the storing of what
	// came before: that is what resuming is for. A body without an end ends by StallTimeout.
	ctx := context.WithoutCancel(r.Context())
	progress, err := h.registry.AppendFile(ctx, r.PathValue("id"), r.PathValue("path"), offset, complete, content)
	if err != nil {
		return err
	}
	writeProgress(w.Header(), progress)
	return sendJSON(w, http.StatusOK, progress)
}

func writeProgress(header http.Header, progress registry.FileProgress) {
	header.Set(uploadOffset, strconv.FormatInt(progress.Offset, 10))
	header.Set(uploadComplete, formatBool(progress.Complete))
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
