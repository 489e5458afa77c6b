package serving

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// parseRange reads a Range header (RFC 9110, section 14.2) for a blob of size
// bytes. nil means the whole blob: the header has another unit, or several
// ranges. A range that is invalid or outside the blob is storage.ErrRange.
func parseRange(header string, size int64) (*storage.Range, error) {
	unit, spec, found := strings.Cut(header, "=")
	if !found || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Contains(spec, ",") {
		return nil, nil
	}
	first, last, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !dash {
		return nil, storage.ErrRange
	}
	if first == "" { // a suffix: the last bytes
		length, ok := parsePosition(last)
		if !ok || length == 0 || size == 0 {
			return nil, storage.ErrRange
		}
		length = min(length, size)
		return &storage.Range{Offset: size - length, Length: length}, nil
	}
	offset, ok := parsePosition(first)
	if !ok || offset >= size {
		return nil, storage.ErrRange
	}
	end := size - 1
	if last != "" {
		position, ok := parsePosition(last)
		if !ok || position < offset {
			return nil, storage.ErrRange
		}
		end = min(end, position)
	}
	return &storage.Range{Offset: offset, Length: end - offset + 1}, nil
}

// parsePosition reads digits only; a number larger than any blob is the largest int64.
func parsePosition(text string) (int64, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	return n, true
}

// contentRange is the Content-Range of the part that is sent, or of a refusal if rng is nil.
func contentRange(rng *storage.Range, size int64) string {
	total := strconv.FormatInt(size, 10)
	if rng == nil {
		return "bytes */" + total
	}
	return "bytes " + strconv.FormatInt(rng.Offset, 10) + "-" + strconv.FormatInt(rng.Offset+rng.Length-1, 10) + "/" + total
}

// ETag of the bytes that have this SHA-256. It is strong: same tag, same bytes.
func ETag(name digest.Digest) string { return `"` + name.String() + `"` }

// notModified reports whether If-None-Match names tag (RFC 9110, section
// 13.1.2: weak comparison).
func notModified(header http.Header, tag string) bool {
	for _, value := range header.Values("If-None-Match") {
		for candidate := range strings.SplitSeq(value, ",") {
			candidate = strings.Trim(candidate, " \t")
			if candidate == "*" || strings.TrimPrefix(candidate, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// rangeApplies reports whether a Range header takes effect: If-Range must be
// absent or the tag of this representation (section 13.1.5; a date never
// matches, since no Last-Modified is sent).
func rangeApplies(header http.Header, tag string) bool {
	condition := header.Get("If-Range")
	return condition == "" || condition == tag
}
