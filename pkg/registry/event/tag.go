package event

// TagSet: a tag of a package name points to a version from now on, whatever it pointed to.
type TagSet struct {
	Producer string `cbor:"producer"`
	Name     string `cbor:"name"`
	Tag      string `cbor:"tag"`
	Version  string `cbor:"version"`
	Manifest []byte `cbor:"manifest"` // SHA-256 of the version's
	// Digest is the text by which it was set, where that is not the manifest's SHA-256.
	Digest string `cbor:"digest,omitempty"`
	// Immutable: it never points to anything else, and is never removed.
	Immutable bool `cbor:"immutable,omitempty"`
}

// TagRemoved: there is no such tag any more.
type TagRemoved struct {
	Producer string `cbor:"producer"`
	Name     string `cbor:"name"`
	Tag      string `cbor:"tag"`
}

// Kind implements Payload.
func (TagSet) Kind() string { return KindTagSet }

// Kind implements Payload.
func (TagRemoved) Kind() string { return KindTagRemoved }

// Subject is producer/name:tag.
func (e TagSet) Subject() string { return e.Producer + "/" + e.Name + ":" + e.Tag }

// Subject is producer/name:tag.
func (e TagRemoved) Subject() string { return e.Producer + "/" + e.Name + ":" + e.Tag }

func (e TagSet) describe() any {
	described := map[string]any{"producer": e.Producer, "name": e.Name, "tag": e.Tag, "version": e.Version, "manifestDigest": text(e.Manifest), "immutable": e.Immutable}
	if e.Digest != "" {
		described["digest"] = e.Digest
	}
	return described
}

func (e TagRemoved) describe() any {
	return map[string]any{"producer": e.Producer, "name": e.Name, "tag": e.Tag}
}
