package manifest

import (
	"fmt"

	"github.com/coulomb/artifact-store/pkg/canonical"
	"github.com/coulomb/artifact-store/pkg/digest"
)

// Walk is Decode for an encoding that is known to be a manifest's, such as that
// of a record of the log, which was checked before it was appended. It calls
// file for each of them in order, and holds no more than one at a time: what
// Decode makes is several times the encoding. The result has no Files. An
// unknown field is an error, and so is a version that is not SchemaVersion.
func Walk(data []byte, file func(number int, f File) error) (*Manifest, error) {
	var m Manifest
	version := 0
	pairs, rest, err := canonical.Map(data)
	for ; pairs > 0 && err == nil; pairs-- {
		var key string
		if rest, err = canonical.First(rest, &key); err != nil {
			break
		}
		switch key {
		case "schemaVersion":
			rest, err = canonical.First(rest, &version)
		case "producer":
			rest, err = canonical.First(rest, &m.Producer)
		case "name":
			rest, err = canonical.First(rest, &m.Name)
		case "version":
			rest, err = canonical.First(rest, &m.Version)
		case "mediaType":
			rest, err = canonical.First(rest, &m.MediaType)
		case "annotations":
			rest, err = canonical.First(rest, &m.Annotations)
		case "files":
			rest, err = walkFiles(rest, file)
		default:
			err = invalid("manifest", "has an unknown field %q", key)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case version != SchemaVersion:
		return nil, invalid("manifest.schemaVersion", "must be %d, is %d", SchemaVersion, version)
	case len(rest) > 0:
		return nil, invalid("manifest", "%d bytes follow it", len(rest))
	}
	return &m, nil
}

func walkFiles(data []byte, file func(number int, f File) error) ([]byte, error) {
	n, rest, err := canonical.Array(data)
	if err != nil {
		return nil, err
	}
	for i := range n {
		var f wireFile
		if rest, err = canonical.First(rest, &f); err != nil {
			return nil, fmt.Errorf("manifest.files[%d]: %w", i, err)
		}
		sha, err := digest.FromBytes(digest.SHA256, f.SHA256)
		if err != nil {
			return nil, invalid(fmt.Sprintf("manifest.files[%d].sha256", i), "%v", err)
		}
		b3, err := digest.FromBytes(digest.BLAKE3, f.BLAKE3)
		if err != nil {
			return nil, invalid(fmt.Sprintf("manifest.files[%d].blake3", i), "%v", err)
		}
		if err := file(i, File{f.Path, f.Size, digest.Dual{SHA256: sha, BLAKE3: b3}, f.Executable, f.MediaType}); err != nil {
			return nil, err
		}
	}
	return rest, nil
}
