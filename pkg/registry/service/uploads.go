package service

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// OpenUpload implements Uploads.
func (s *Service) OpenUpload(ctx context.Context, req registry.OpenUpload) (registry.Upload, error) {
	if err := req.Validate(); err != nil {
		return registry.Upload{}, err
	}
	backend, err := s.placer.Place(placement.Request{Producer: req.Producer, RetentionClass: req.RetentionClass})
	if err != nil {
		return registry.Upload{}, err
	}
	now := s.now().UTC()
	session := upload.Session{
		ID: uuid.NewString(), Producer: req.Producer, Name: req.Name, Version: req.Version, RetentionClass: req.RetentionClass,
		Tier: string(req.Tier), MediaType: req.MediaType, Annotations: req.Annotations,
		BackendID: backend.ID, BackendName: backend.Name, Actor: registry.ActorOf(ctx), State: upload.StateOpen,
		Created: now, Expires: now.Add(s.lifetime),
	}
	err = s.write(ctx, func(tx database.Tx) error {
		taken, err := view.FindPackage(ctx, tx, req.Producer, req.Name, req.Version)
		if err == nil {
			if err := sameTerms(session, taken); err != nil {
				return err
			}
		} else if !errors.Is(err, view.ErrNotFound) {
			return err
		}
		return upload.Create(ctx, tx, session)
	})
	if err != nil {
		return registry.Upload{}, err
	}
	return describe(session, 0, 0), nil
}

// sameTerms refuses to publish a version again under other terms than it has.
func sameTerms(session upload.Session, taken view.Package) error {
	if session.RetentionClass != taken.RetentionClass {
		return &registry.ConflictError{Field: "retentionClass", Existing: taken.ManifestDigest,
			Message: fmt.Sprintf("the version is published under the retention class %s, not %s", taken.RetentionClass, session.RetentionClass)}
	}
	if session.Tier != taken.Tier {
		return &registry.ConflictError{Field: "tier", Existing: taken.ManifestDigest,
			Message: fmt.Sprintf("the version is published under the tier %s, not %s", taken.Tier, session.Tier)}
	}
	return nil
}

func describe(session upload.Session, files, missing int) registry.Upload {
	return registry.Upload{
		ID: session.ID,
		OpenUpload: registry.OpenUpload{
			PackageRef:     registry.PackageRef{Producer: session.Producer, Name: session.Name, Version: session.Version},
			RetentionClass: session.RetentionClass, Tier: registry.Tier(session.Tier), MediaType: session.MediaType, Annotations: session.Annotations,
		},
		Backend: session.BackendName, BackendID: session.BackendID, State: session.State,
		Created: session.Created, Expires: session.Expires, Files: files, Missing: missing,
	}
}

// GetUpload implements Uploads.
func (s *Service) GetUpload(ctx context.Context, id string) (answer registry.Upload, err error) {
	err = s.read(ctx, func(tx database.Tx) error {
		session, err := s.session(ctx, tx, id)
		if err != nil {
			return err
		}
		files, missing, err := upload.Count(ctx, tx, id)
		answer = describe(session, files, missing)
		return err
	})
	return answer, err
}

// session returns a session that is published or still has time.
func (s *Service) session(ctx context.Context, tx database.Tx, id string) (upload.Session, error) {
	if _, err := uuid.Parse(id); err != nil {
		return upload.Session{}, registry.ErrNotFound
	}
	session, err := upload.Get(ctx, tx, id)
	if err != nil {
		return session, mapError(err)
	}
	if session.State == upload.StateOpen && !s.now().Before(session.Expires) {
		return session, registry.ErrExpired
	}
	return session, nil
}

// openSession is session for callers that are about to change it.
func (s *Service) openSession(ctx context.Context, tx database.Tx, id string) (upload.Session, error) {
	session, err := s.session(ctx, tx, id)
	if err == nil && session.State != upload.StateOpen {
		err = registry.ErrPublished
	}
	return session, err
}

// lockSession is openSession for a transaction that changes what Publish would
// seal: a publish that has read the session before is refused.
func (s *Service) lockSession(ctx context.Context, tx database.Tx, id string) (upload.Session, error) {
	if _, err := uuid.Parse(id); err != nil {
		return upload.Session{}, registry.ErrNotFound
	}
	if err := upload.Touch(ctx, tx, id); err != nil {
		return upload.Session{}, err
	}
	return s.openSession(ctx, tx, id)
}

// AbandonUpload implements Uploads.
func (s *Service) AbandonUpload(ctx context.Context, id string) error {
	return s.write(ctx, func(tx database.Tx) error {
		switch _, err := s.lockSession(ctx, tx, id); {
		case errors.Is(err, registry.ErrNotFound):
			return nil
		case err != nil && !errors.Is(err, registry.ErrExpired):
			return err
		}
		return upload.Delete(ctx, tx, id)
	})
}

// DeclareFiles implements Uploads.
func (s *Service) DeclareFiles(ctx context.Context, id string, declarations []registry.FileDeclaration) (answer registry.Declared, err error) {
	files, err := checkDeclarations(declarations)
	if err != nil {
		return answer, err
	}
	added := 0
	err = s.write(ctx, func(tx database.Tx) error {
		session, err := s.lockSession(ctx, tx, id)
		if err != nil {
			return err
		}
		fresh, total, err := s.newFiles(ctx, tx, id, files)
		if err != nil {
			return err
		}
		if err := upload.InsertFiles(ctx, tx, id, fresh); err != nil {
			return err
		}
		if err := s.reuse(ctx, tx, session, fresh); err != nil {
			return err
		}
		have, err := upload.HasContents(ctx, tx, id, contents(files))
		if err != nil {
			return err
		}
		added, answer = len(fresh), registry.Declared{Send: toSend(files, have), Files: total}
		return upload.Extend(ctx, tx, id, s.now().Add(s.lifetime))
	})
	if err == nil && added >= manyFiles {
		if err := s.db.Analyze(ctx, "upload_files"); err != nil {
			s.logger.WarnContext(ctx, "analyzing declared files", "error", err) // what follows is only slower
		}
	}
	return answer, err
}

// manyFiles in one declaration are news to the database's planner.
const manyFiles = 1000

// checkDeclarations validates what needs no database.
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
				return nil, registry.Invalid(field("digests"), "has the sha256 of files[%d] and another size or blake3", first)
			}
			content[sha] = i
		}
		files[i] = f
	}
	return files, nil
}

// newFiles returns those of files that the session does not have, and how many it then has.
func (s *Service) newFiles(ctx context.Context, tx database.Tx, id string, files []upload.File) ([]upload.File, int, error) {
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
			return nil, 0, &registry.ConflictError{Field: fmt.Sprintf("files[%d]", i), Message: fmt.Sprintf("%q was declared in this session in other words", f.Path)}
		}
	}
	if known+len(fresh) > registry.MaxFilesInOneUpload {
		return nil, 0, registry.Invalid("files", "must be at most %d in one session, would be %d", registry.MaxFilesInOneUpload, known+len(fresh))
	}
	return fresh, known + len(fresh), nil
}

// agree reports whether a new declaration says nothing that the old one, or
// the bytes that came for it, contradict.
func agree(declared, old upload.File) bool {
	return declared.Executable == old.Executable && declared.MediaType == old.MediaType &&
		(declared.Size == upload.UnknownSize || declared.Size == old.Size) &&
		(declared.Digests.IsZero() || declared.Digests.Matches(old.Digests))
}

// reuse marks content that the session's producer has published before.
func (s *Service) reuse(ctx context.Context, tx database.Tx, session upload.Session, files []upload.File) error {
	reusable, err := view.FindReusable(ctx, tx, session.Producer, contents(files))
	if err != nil {
		return err
	}
	for i, f := range files {
		r, ok := reusable[f.Digests.SHA256]
		if ok && (!f.Digests.Matches(r.Digests) || f.Size != upload.UnknownSize && f.Size != r.Size) {
			return registry.Invalid(fmt.Sprintf("files[%d].digests", i), "%s is a blob of %d bytes with another size or blake3", r.Digests.SHA256, r.Size)
		}
	}
	blobs := make([]upload.Blob, 0, len(reusable))
	for _, r := range reusable {
		if slices.ContainsFunc(r.Backends, s.canRead) {
			blobs = append(blobs, upload.Blob{Digests: r.Digests, Size: r.Size, Source: upload.SourceReused})
		}
	}
	return upload.InsertBlobs(ctx, tx, session.ID, blobs)
}

// contents lists the known digests of files, each once, in order.
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

func (s *Service) canRead(backendID string) bool {
	b, err := s.placer.Open(backendID)
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
