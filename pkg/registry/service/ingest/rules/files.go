// Package rules decides what an upload session takes: which files may be declared, whether
// bytes are what was declared, and whether a client's manifest is the server's. It does no I/O.
package rules

import (
	"fmt"
	"slices"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Declarations checks what a client declares, and returns it as rows.
func Declarations(declarations []registry.FileDeclaration) ([]upload.File, error) {
	if len(declarations) > registry.MaxFilesInOneUpload {
		return nil, registry.Invalid("files", "must be at most %d, are %d", registry.MaxFilesInOneUpload, len(declarations))
	}
	files := make([]upload.File, len(declarations))
	folded := make(map[string]int, len(declarations))
	content := make(map[digest.Digest]int, len(declarations))
	for i, d := range declarations {
		field := func(name string) string { return fmt.Sprintf("files[%d].%s", i, name) }
		if err := registry.ValidatePath(field("path"), d.Path); err != nil {
			return nil, err
		}
		fold := manifest.FoldPath(d.Path)
		if first, taken := folded[fold]; taken {
			return nil, registry.Invalid(field("path"), "%q is equal to files[%d].path (paths are compared in Unicode NFC)", d.Path, first)
		}
		folded[fold] = i
		f := upload.File{Path: d.Path, Size: upload.UnknownSize, Digests: d.Digests, Executable: d.Executable, MediaType: d.MediaType}
		if d.Size != nil {
			if f.Size = *d.Size; f.Size < 0 || f.Size > manifest.MaxFileSize {
				return nil, registry.Invalid(field("size"), "must be 0 to %d bytes, is %d", int64(manifest.MaxFileSize), f.Size)
			}
		}
		if err := registry.ValidateDigests(field("digests"), d.Digests); err != nil {
			return nil, err
		}
		if err := registry.ValidateMediaType(field("mediaType"), d.MediaType); err != nil {
			return nil, err
		}
		if sha := d.Digests.SHA256; !sha.IsZero() {
			if first, known := content[sha]; known && (files[first].Size != f.Size || files[first].Digests != f.Digests) {
				return nil, registry.Invalid(field("digests"), "has the sha256 of files[%d] but a different size or blake3", first)
			}
			content[sha] = i
		}
		files[i] = f
	}
	return files, nil
}

// Agree reports whether a new declaration is consistent with the old one and with
// the bytes that came for it.
func Agree(declared, old upload.File) bool {
	return declared.Executable == old.Executable && declared.MediaType == old.MediaType &&
		(declared.Size == upload.UnknownSize || declared.Size == old.Size) &&
		(declared.Digests.IsZero() || declared.Digests.Matches(old.Digests))
}

// Contents lists the known digests of files, sorted, each once.
func Contents(files []upload.File) []digest.Digest {
	var digests []digest.Digest
	for _, f := range files {
		if !f.Digests.SHA256.IsZero() {
			digests = append(digests, f.Digests.SHA256)
		}
	}
	slices.SortFunc(digests, func(a, b digest.Digest) int { x, y := a.Sum(), b.Sum(); return slices.Compare(x[:], y[:]) })
	return slices.Compact(digests)
}

// ToSend lists, sorted, one path for each content that the session lacks.
func ToSend(files []upload.File, have map[digest.Digest]bool) []string {
	send := []string{}
	asked := make(map[digest.Digest]bool)
	for _, f := range files {
		sha := f.Digests.SHA256
		if !sha.IsZero() {
			if have[sha] || asked[sha] {
				continue
			}
			asked[sha] = true
		}
		send = append(send, f.Path)
	}
	slices.Sort(send)
	return send
}

// Source combines the declaration with what this request says about the bytes.
func Source(session upload.Session, file upload.File, content registry.Content) (storage.Source, error) {
	src := storage.Source{Reader: content.Reader, Size: file.Size, Want: file.Digests, Tier: session.Tier}
	if content.Size != storage.UnknownSize {
		if src.Size != storage.UnknownSize && src.Size != content.Size {
			return src, registry.Invalid("size", "the request has %d bytes, %d were declared", content.Size, src.Size)
		}
		src.Size = content.Size
	}
	for _, d := range []struct {
		field          string
		want           *digest.Digest
		sent, declared digest.Digest
	}{
		{"digests.sha256", &src.Want.SHA256, content.Digests.SHA256, file.Digests.SHA256},
		{"digests.blake3", &src.Want.BLAKE3, content.Digests.BLAKE3, file.Digests.BLAKE3},
	} {
		if d.sent.IsZero() {
			continue
		}
		if !d.declared.IsZero() && d.declared != d.sent {
			return src, registry.Invalid(d.field, "the request says %s, %s was declared", d.sent, d.declared)
		}
		*d.want = d.sent
	}
	return src, nil
}

// Named checks what a request says of one of its files.
func Named(file registry.NamedContent) error {
	if err := registry.ValidatePath("path", file.Path); err != nil {
		return err
	}
	if file.Size < storage.UnknownSize || file.Size > manifest.MaxFileSize {
		return registry.Invalid("size", "of %q must be 0 to %d bytes, is %d", file.Path, int64(manifest.MaxFileSize), file.Size)
	}
	return registry.ValidateDigests("digests", file.Digests)
}

// NewVersion refuses the name of a version that is not published yet, and means something
// else: a tag has it, or it is the word for the newest.
func NewVersion(ref registry.PackageRef, tagged bool) error {
	switch {
	case tagged:
		return &registry.ConflictError{Field: "version", Message: fmt.Sprintf("%q is a tag of %s/%s", ref.Version, ref.Producer, ref.Name)}
	case ref.Version == registry.Latest:
		return registry.Invalid("version", "%q is the word for the newest version: publish under another name, and set a tag", registry.Latest)
	}
	return nil
}
