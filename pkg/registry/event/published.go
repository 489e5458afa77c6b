package event

import (
	"fmt"

	"github.com/coulomb/artifact-store/pkg/canonical"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// A publication's payload is its manifest, of up to 32 MiB, and a few names. What
// is here takes one without the other.

// encode is canonical.Marshal, which would copy a manifest several times.
func encode(payload Payload) ([]byte, error) {
	p, is := payload.(PackagePublished)
	if !is || len(p.Manifest) == 0 {
		return canonical.Marshal(payload)
	}
	encoded := p.Manifest
	p.Manifest = Bytes{}
	frame, err := canonical.Marshal(p)
	if err != nil {
		return nil, err
	}
	_, rest, err := front(frame)
	if err != nil {
		return nil, err
	}
	at := len(frame) - len(rest) - 1 // where the empty manifest is, of one byte
	data := make([]byte, 0, len(frame)+9+len(encoded))
	data = canonical.AppendBytesHead(append(data, frame[:at]...), len(encoded))
	return append(append(data, encoded...), rest...), nil
}

// PublishedFront reads the beginning of a PackagePublished's payload, of
// FrontBytes or all that it has: the ids of its backends, and where in the
// payload its manifest begins.
func PublishedFront(data []byte) (backends []string, manifestAt int, err error) {
	backends, rest, err := front(data)
	return backends, len(data) - len(rest), err
}

// FrontBytes of a payload are enough for PublishedFront: names of at most 128
// bytes, and some hundred ids.
const FrontBytes = 16 << 10

// front returns what follows the head of the manifest. Keys are in order of
// their length: the names and the backends come before it.
func front(data []byte) (backends []string, rest []byte, err error) {
	pairs, rest, err := canonical.Map(data)
	for ; pairs > 0 && err == nil; pairs-- {
		var key, text string
		if rest, err = canonical.First(rest, &key); err != nil {
			break
		}
		switch key {
		case "manifest":
			_, rest, err = canonical.BytesHead(rest)
			return backends, rest, err
		case "backends":
			rest, err = canonical.First(rest, &backends)
		default:
			rest, err = canonical.First(rest, &text)
		}
	}
	if err == nil {
		err = ErrUnknown
	}
	return nil, nil, fmt.Errorf("%s: %w", KindPackagePublished, err)
}

// DescribeAs is Describe for a publication whose manifest is known to have these
// properties.
func (e PackagePublished) DescribeAs(manifest digest.Digest, files int, bytes int64) any {
	return map[string]any{
		"producer": e.Producer, "name": e.Name, "version": e.Version,
		"retentionClass": e.RetentionClass, "tier": e.Tier, "backends": e.Backends,
		"manifestDigest": manifest, "files": files, "bytes": bytes,
	}
}
