package rules

import (
	"bytes"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// Claim is the manifest that a client sent, if any. Once it was found right its
// digest is enough, and the extras, of which each attempt makes the manifest again.
type Claim struct {
	Bytes  []byte
	Digest digest.Digest
	Extras Extras
}

// Check compares it with the server's, which is encoded. What was right is kept by its digest.
func (c *Claim) Check(encoded []byte, sum digest.Digest, inSession bool) error {
	switch {
	case c.Bytes != nil && !bytes.Equal(c.Bytes, encoded):
		return ManifestDiffers(c.Bytes, encoded, sum)
	case c.Bytes != nil:
		c.Bytes, c.Digest = nil, sum
	case !c.Digest.IsZero() && c.Digest != sum && !inSession:
		return registry.Invalid("manifestDigest", "is %s, the server's is %s", c.Digest, sum)
	case !c.Digest.IsZero() && c.Digest != sum:
		return registry.Invalid("manifest", "is %s, the server's is %s by now: the session has changed", c.Digest, sum)
	}
	return nil
}

// CheckPublished compares it with that of the version that is published.
func (c *Claim) CheckPublished(p registry.Publication) error {
	sent := c.Digest
	if c.Bytes != nil {
		sent = manifest.Digest(c.Bytes)
	}
	if sent.IsZero() || sent == p.ManifestDigest {
		return nil
	}
	return registry.Invalid("manifest", "is %s, the version is published with %s", sent, p.ManifestDigest)
}
