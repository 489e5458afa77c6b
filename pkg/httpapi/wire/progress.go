package wire

import (
	"net/http"
	"strconv"
	"time"

	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// Header fields and media type of draft-ietf-httpbis-resumable-upload (interop
// version 8). The upload resource is the file's own address, which exists from
// its declaration, so a client need not create one. Of what the draft
// recommends, interim responses (104) are not sent.
const (
	UploadOffset   = "Upload-Offset"
	UploadComplete = "Upload-Complete"
	UploadLength   = "Upload-Length"
	UploadLimit    = "Upload-Limit"
	PartialUpload  = "application/partial-upload"
)

// WriteProgress writes into a header how much of a file has arrived.
func WriteProgress(header http.Header, progress registry.FileProgress) {
	header.Set(UploadOffset, strconv.FormatInt(progress.Offset, 10))
	header.Set(UploadComplete, FormatBool(progress.Complete))
	limit := "max-size=" + strconv.FormatInt(manifest.MaxFileSize, 10)
	if left := time.Until(progress.Expires); left > 0 {
		limit += ", max-age=" + strconv.FormatInt(int64(left.Seconds()), 10)
	}
	header.Set(UploadLimit, limit)
	if progress.Size != nil {
		header.Set(UploadLength, strconv.FormatInt(*progress.Size, 10))
	}
	if digests := FormatDigests(progress.Digests); digests != "" {
		header.Set(ReprDigest, digests)
	}
}

// ReadProgress is the inverse of WriteProgress.
func ReadProgress(path string, header http.Header) (registry.FileProgress, error) {
	progress := registry.FileProgress{Path: path}
	var err error
	if progress.Offset, err = strconv.ParseInt(header.Get(UploadOffset), 10, 64); err != nil {
		return progress, registry.Invalid(UploadOffset, "in the response is not a number")
	}
	if progress.Complete, err = ParseBool(UploadComplete, header.Get(UploadComplete)); err != nil {
		return progress, err
	}
	if text := header.Get(UploadLength); text != "" {
		size, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return progress, registry.Invalid(UploadLength, "in the response is not a number")
		}
		progress.Size = &size
	}
	progress.Digests, err = DeclaredDigests(header)
	return progress, err
}

// FormatBool writes a boolean of a structured field (RFC 8941, section 3.3.6).
func FormatBool(value bool) string {
	if value {
		return "?1"
	}
	return "?0"
}

// ParseBool is the inverse of FormatBool.
func ParseBool(field, text string) (bool, error) {
	switch text {
	case "?1":
		return true, nil
	case "?0":
		return false, nil
	}
	return false, registry.Invalid(field, "must be ?1 or ?0")
}
