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
		if err = AsInvalid(err); errors.Is(err, registry.ErrInvalid) {
			return err
		}
		return registry.Invalid("manifest", "%v", err)
	}
	if i, ours, more := next(); more {
		return registry.Invalid(fmt.Sprintf("manifest.files[%d]", i), "differs from %q as it was stored; the server's manifest is %s, the client's is %s", ours.Path, encodedDigest, got)
	}
	return registry.Invalid("manifest", "is %s, the server's is %s: the files agree, so compare producer, name, version, mediaType and annotations", got, encodedDigest)
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
