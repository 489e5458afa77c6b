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
	"github.com/coulomb/artifact-store/pkg/registry/service/ingest/rules"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// DeclareFiles implements Uploads.
func (in *Intake) DeclareFiles(ctx context.Context, id string, declarations []registry.FileDeclaration) (answer registry.Declared, err error) {
	files, err := rules.Declarations(declarations)
	if err != nil {
		return answer, err
	}
	write := in.core.WriteSmall
	if len(files) > fewFiles {
		write = in.core.Write
	}
	added := 0
	err = write(ctx, func(tx database.Tx) error {
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
		have, err := in.reuse(ctx, tx, session, fresh)
		if err != nil {
			return err
		}
		if total > len(fresh) { // else it has nothing but what it reuses
			if have, err = upload.HasContents(ctx, tx, id, rules.Contents(files)); err != nil {
				return err
			}
		}
		added, answer = len(fresh), registry.Declared{Send: rules.ToSend(files, have), Files: total}
		return upload.Extend(ctx, tx, id, in.core.Now().Add(in.lifetime))
	})
	if err == nil && added >= manyFiles {
		if err := in.core.Analyze(ctx, "upload_files"); err != nil {
			in.core.Logger.WarnContext(ctx, "analyzing declared files", "error", err) // what follows is only slower
		}
	}
	return answer, err
}

// fewFiles are declared in a transaction that concurrent calls may share: it is quick enough for that.
const fewFiles = 32

// manyFiles in one declaration change what the database's planner must know.
const manyFiles = 1000

// newFiles returns those of files that the session does not have, and how many it then has.
func (in *Intake) newFiles(ctx context.Context, tx database.Tx, id string, files []upload.File) ([]upload.File, int, error) {
	known, err := upload.CountFiles(ctx, tx, id)
	if err != nil {
		return nil, 0, err
	}
	if known == 0 && len(files) <= registry.MaxFilesInOneUpload {
		return files, len(files), nil
	}
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = manifest.FoldPath(f.Path)
	}
	byFolded, err := upload.FindFolded(ctx, tx, id, paths)
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
		case !rules.Agree(f, old):
			return nil, 0, &registry.ConflictError{Field: fmt.Sprintf("files[%d]", i), Message: fmt.Sprintf("%q is already declared in this session with different fields", f.Path)}
		}
	}
	if known+len(fresh) > registry.MaxFilesInOneUpload {
		return nil, 0, rules.TooManyFiles(int64(known + len(fresh)))
	}
	return fresh, known + len(fresh), nil
}

// reuse marks content that the session's producer published before, and returns it.
func (in *Intake) reuse(ctx context.Context, tx database.Tx, session upload.Session, files []upload.File) (map[digest.Digest]bool, error) {
	reusable, err := view.FindReusable(ctx, tx, session.Producer, rules.Contents(files))
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		r, ok := reusable[f.Digests.SHA256]
		if ok && (!f.Digests.Matches(r.Digests) || f.Size != upload.UnknownSize && f.Size != r.Size) {
			return nil, registry.Invalid(fmt.Sprintf("files[%d].digests", i), "%s is a blob of %d bytes with a different size or blake3", r.Digests.SHA256, r.Size)
		}
	}
	doubts, err := doubt.Find(ctx, tx, slices.Collect(maps.Keys(reusable)))
	if err != nil {
		return nil, err
	}
	readable := map[string]bool{}
	blobs, reused := make([]upload.Blob, 0, len(reusable)), make(map[digest.Digest]bool, len(reusable))
	for sha, r := range reusable {
		source := ""
		for _, id := range r.Backends {
			can, asked := readable[id]
			if !asked {
				can = in.canRead(id)
				readable[id] = can
			}
			switch {
			case !can || slices.Contains(doubts[sha], id):
			case id == session.BackendID:
				source = upload.SourceHere
			case source == "":
				source = upload.SourceReused
			}
		}
		if source != "" {
			reused[sha] = true
			blobs = append(blobs, upload.Blob{Digests: r.Digests, Size: r.Size, Source: source})
		}
	}
	return reused, upload.InsertBlobs(ctx, tx, session.ID, blobs)
}

func (in *Intake) canRead(backendID string) bool {
	b, err := in.core.Placer.Open(backendID)
	return err == nil && b.Store != nil
}
