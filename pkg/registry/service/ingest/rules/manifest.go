package rules

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// AsInvalid turns the manifest's complaint into the registry's.
func AsInvalid(err error) error {
	var invalid *manifest.InvalidError
	if errors.As(err, &invalid) {
		return &registry.InvalidError{Field: invalid.Field, Message: invalid.Message}
	}
	return err
}

// ManifestDiffers says how a client's manifest differs from the server's, which is encoded.
func ManifestDiffers(sent, encoded []byte, encodedDigest digest.Digest) error {
	got := manifest.Digest(sent)
	next, stop := iter.Pull2(EachFile(encoded))
	defer stop()
	if _, err := manifest.Walk(sent, func(i int, theirs manifest.File) error {
		_, ours, more := next()
		switch {
		case !more:
			return registry.Invalid(fmt.Sprintf("manifest.files[%d]", i), "%q was not declared in this session", theirs.Path)
		case ours != theirs:
			return registry.Invalid(fmt.Sprintf("manifest.files[%d]", i), "differs from %q as it was stored; the server's manifest is %s, the client's is %s", ours.Path, encodedDigest, got)
		}
		return nil
	}); err != nil {
		return ofManifest(err)
	}
	if i, ours, more := next(); more {
		return registry.Invalid(fmt.Sprintf("manifest.files[%d]", i), "differs from %q as it was stored; the server's manifest is %s, the client's is %s", ours.Path, encodedDigest, got)
	}
	return registry.Invalid("manifest", "is %s, the server's is %s: the files agree, so compare producer, name, version, mediaType, annotations, links and folders", got, encodedDigest)
}

// FilesOf returns the files of a client's manifest, which are sorted by path, and its
// extras but for the modes, which the files have. What manifest.Encode checks is left to it.
func FilesOf(encoded []byte) (files []manifest.File, extras Extras, err error) {
	first := make(map[digest.Digest]int)
	each := extras.gather()
	each.File = func(i int, f manifest.File) error {
		if f.MediaType != "" {
			if err := registry.ValidateMediaType(fmt.Sprintf("manifest.files[%d].mediaType", i), f.MediaType); err != nil {
				return err
			}
		}
		if last := len(files) - 1; last >= 0 && files[last].Path >= f.Path {
			return registry.Invalid(fmt.Sprintf("manifest.files[%d].path", i), "%q must come before %q", f.Path, files[last].Path)
		}
		sha := f.Digests.SHA256
		if at, known := first[sha]; !known {
			first[sha] = i
		} else if other := files[at]; other.Size != f.Size || other.Digests != f.Digests {
			return registry.Invalid(fmt.Sprintf("manifest.files[%d]", i), "has the sha256 of files[%d] but a different size or blake3", at)
		}
		files = append(files, f)
		return nil
	}
	_, err = manifest.WalkAll(encoded, each)
	return files, extras, ofManifest(err)
}

// ofManifest turns what is wrong with a client's manifest into the registry's complaint.
func ofManifest(err error) error {
	if err = AsInvalid(err); err != nil && !errors.Is(err, registry.ErrInvalid) {
		err = registry.Invalid("manifest", "%v", err)
	}
	return err
}

// EachFile gives the files of a manifest of ours.
func EachFile(encoded []byte) iter.Seq2[int, manifest.File] {
	return func(yield func(int, manifest.File) bool) {
		_, _ = manifest.Walk(encoded, func(i int, f manifest.File) error { // it was encoded here
			if !yield(i, f) {
				return io.EOF
			}
			return nil
		})
	}
}
