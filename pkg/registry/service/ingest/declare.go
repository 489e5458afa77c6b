package ingest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/doubt"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// DeclareFiles implements Uploads.
func (in *Intake) DeclareFiles(ctx context.Context, id string, declarations []registry.FileDeclaration) (answer registry.Declared, err error) {
	files, err := checkDeclarations(declarations)
	if err != nil {
		return answer, err
	}
	added := 0
	err = in.core.Write(ctx, func(tx database.Tx) error {
		session, err := in.lockSession(ctx, tx, id)
		if err != nil {
			return err
		}
		fresh, total, err := in.newFiles(ctx, tx, id, files)
		if err != nil {
			return err
		}
		if err := in.admitFiles(ctx, tx, session, fresh); err != nil {
			return err
		}
		if err := upload.InsertFiles(ctx, tx, id, fresh); err != nil {
			return err
		}
		if err := in.reuse(ctx, tx, session, fresh); err != nil {
			return err
		}
		have, err := upload.HasContents(ctx, tx, id, contents(files))
		if err != nil {
			return err
		}
		added, answer = len(fresh), registry.Declared{Send: toSend(files, have), Files: total}
		return upload.Extend(ctx, tx, id, in.core.Now().Add(in.lifetime))
	})
	if err == nil && added >= manyFiles {
		if err := in.core.Analyze(ctx, "upload_files"); err != nil {
			in.core.Logger.WarnContext(ctx, "analyzing declared files", "error", err) // what follows is only slower
		}
	}
	return answer, err
}

// manyFiles in one declaration change what the database's planner must know.
const manyFiles = 1000

// checkDeclarations checks what needs no database.
func checkDeclarations(declarations []registry.FileDeclaration) ([]upload.File, error) {
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
		if first, taken := folded[manifest.FoldPath(d.Path)]; taken {
			return nil, registry.Invalid(field("path"), "%q is equal to files[%d].path (paths are compared in Unicode NFC)", d.Path, first)
		}
		folded[manifest.FoldPath(d.Path)] = i
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

// newFiles returns those of files that the session does not have, and how many it then has.
func (in *Intake) newFiles(ctx context.Context, tx database.Tx, id string, files []upload.File) ([]upload.File, int, error) {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = manifest.FoldPath(f.Path)
	}
	byFolded, err := upload.FindFolded(ctx, tx, id, paths)
	if err != nil {
		return nil, 0, err
	}
	known, err := upload.CountFiles(ctx, tx, id)
	if err != nil {
		return nil, 0, err
	}
	var fresh []upload.File
	for i, f := range files {
		old, taken := byFolded[paths[i]]
		switch {
		case !taken:
			fresh = append(fresh, f)
		case old.Path != f.Path:
			return nil, 0, registry.Invalid(fmt.Sprintf("files[%d].path", i), "%q and the declared %q are equal after Unicode normalization (NFC)", f.Path, old.Path)
		case !agree(f, old):
			return nil, 0, &registry.ConflictError{Field: fmt.Sprintf("files[%d]", i), Message: fmt.Sprintf("%q is already declared in this session with different fields", f.Path)}
		}
	}
	if known+len(fresh) > registry.MaxFilesInOneUpload {
		return nil, 0, registry.Invalid("files", "must be at most %d in one session, would be %d", registry.MaxFilesInOneUpload, known+len(fresh))
	}
	return fresh, known + len(fresh), nil
}

// agree reports whether a new declaration is consistent with the old one and with
// the bytes that came for it.
func agree(declared, old upload.File) bool {
	return declared.Executable == old.Executable && declared.MediaType == old.MediaType &&
		(declared.Size == upload.UnknownSize || declared.Size == old.Size) &&
		(declared.Digests.IsZero() || declared.Digests.Matches(old.Digests))
}

// reuse marks content that the session's producer published before.
func (in *Intake) reuse(ctx context.Context, tx database.Tx, session upload.Session, files []upload.File) error {
	reusable, err := view.FindReusable(ctx, tx, session.Producer, contents(files))
	if err != nil {
		return err
	}
	for i, f := range files {
		r, ok := reusable[f.Digests.SHA256]
		if ok && (!f.Digests.Matches(r.Digests) || f.Size != upload.UnknownSize && f.Size != r.Size) {
			return registry.Invalid(fmt.Sprintf("files[%d].digests", i), "%s is a blob of %d bytes with a different size or blake3", r.Digests.SHA256, r.Size)
		}
	}
	doubts, err := doubt.Find(ctx, tx, slices.Collect(maps.Keys(reusable)))
	if err != nil {
		return err
	}
	blobs := make([]upload.Blob, 0, len(reusable))
	for sha, r := range reusable {
		if slices.ContainsFunc(r.Backends, func(id string) bool { return in.canRead(id) && !slices.Contains(doubts[sha], id) }) {
			blobs = append(blobs, upload.Blob{Digests: r.Digests, Size: r.Size, Source: upload.SourceReused})
		}
	}
	return upload.InsertBlobs(ctx, tx, session.ID, blobs)
}

// contents lists the known digests of files, sorted, each once.
func contents(files []upload.File) []digest.Digest {
	var digests []digest.Digest
	for _, f := range files {
		if !f.Digests.SHA256.IsZero() {
			digests = append(digests, f.Digests.SHA256)
		}
	}
	slices.SortFunc(digests, func(a, b digest.Digest) int { x, y := a.Sum(), b.Sum(); return slices.Compare(x[:], y[:]) })
	return slices.Compact(digests)
}

func (in *Intake) canRead(backendID string) bool {
	b, err := in.core.Placer.Open(backendID)
	return err == nil && b.Store != nil
}

// toSend lists, sorted, one path for each content that the session lacks.
func toSend(files []upload.File, have map[digest.Digest]bool) []string {
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
