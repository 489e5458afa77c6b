package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/pkg/shares"
)

// OpenUpload implements Uploads.
func (in *Intake) OpenUpload(ctx context.Context, req registry.OpenUpload) (registry.Upload, error) {
	session, err := in.newSession(ctx, req)
	if err != nil {
		return registry.Upload{}, err
	}
	session.ID = uuid.NewString()
	err = in.core.WriteSmall(ctx, func(tx database.Tx) error {
		taken, err := view.FindPackage(ctx, tx, req.Producer, req.Name, req.Version)
		if err == nil {
			if err := sameTerms(session, taken); err != nil {
				return err
			}
		} else if !errors.Is(err, view.ErrNotFound) {
			return err
		}
		if err := in.admitSession(ctx, tx, session.Holder, textsOf(req)); err != nil {
			return err
		}
		return upload.Create(ctx, tx, session)
	})
	if err != nil {
		return registry.Upload{}, err
	}
	return describe(session, 0, 0), nil
}

// newSession is what a package is published by; without an ID nothing of it is recorded.
func (in *Intake) newSession(ctx context.Context, req registry.OpenUpload) (upload.Session, error) {
	if err := req.Validate(); err != nil {
		return upload.Session{}, err
	}
	backend, err := in.core.Placer.Place(placement.Request{Producer: req.Producer, RetentionClass: req.RetentionClass})
	now := in.core.Now().UTC()
	return upload.Session{
		Producer: req.Producer, Name: req.Name, Version: req.Version, RetentionClass: req.RetentionClass,
		Tier: string(req.Tier), MediaType: req.MediaType, Annotations: req.Annotations,
		BackendID: backend.ID, BackendName: backend.Name, Actor: registry.ActorOf(ctx), State: upload.StateOpen, Holder: shares.HolderOf(ctx),
		Created: now, Expires: now.Add(in.lifetime),
	}, err
}

// textsOf is how many bytes the texts of a session have.
func textsOf(req registry.OpenUpload) (texts int64) {
	for key, value := range req.Annotations {
		texts += int64(len(key) + len(value))
	}
	return texts
}

// sameTerms refuses to publish a version again under other terms than before.
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
func (in *Intake) GetUpload(ctx context.Context, id string) (answer registry.Upload, err error) {
	var has upload.Session
	err = in.core.ReadSmall(ctx, func(tx database.Tx) (err error) {
		has, err = in.session(ctx, tx, id)
		return err
	})
	if err != nil {
		return answer, err
	}
	if has.Files > manyFiles { // the database goes through all of them
		turn, err := in.counting.Take(ctx, 1)
		if err != nil {
			return answer, err
		}
		defer turn.Return()
	}
	err = in.core.Read(ctx, func(tx database.Tx) error {
		session, err := in.session(ctx, tx, id)
		if err != nil {
			return err
		}
		files, missing, err := upload.Count(ctx, tx, id)
		answer = describe(session, files, missing)
		return err
	})
	return answer, err
}

// session returns a session that is published or not expired.
func (in *Intake) session(ctx context.Context, tx database.Tx, id string) (upload.Session, error) {
	return in.found(ctx, tx, id, upload.Get)
}

func (in *Intake) found(ctx context.Context, tx database.Tx, id string, find func(context.Context, database.Tx, string) (upload.Session, error)) (upload.Session, error) {
	if _, err := uuid.Parse(id); err != nil {
		return upload.Session{}, registry.ErrNotFound
	}
	session, err := find(ctx, tx, id)
	if errors.Is(err, upload.ErrNotFound) {
		return session, registry.ErrNotFound // callers tell it apart inside the transaction
	}
	if err != nil {
		return session, err
	}
	if session.State == upload.StateOpen && !in.core.Now().Before(session.Expires) {
		return session, registry.ErrExpired
	}
	return session, nil
}

// openSession is session for callers that change it.
func (in *Intake) openSession(ctx context.Context, tx database.Tx, id string) (upload.Session, error) {
	return onlyOpen(in.session(ctx, tx, id))
}

// lockSession is openSession for a transaction that changes what Publish would
// seal: a publish that read the session before is refused.
func (in *Intake) lockSession(ctx context.Context, tx database.Tx, id string) (upload.Session, error) {
	return onlyOpen(in.found(ctx, tx, id, upload.Lock))
}

func onlyOpen(session upload.Session, err error) (upload.Session, error) {
	if err == nil && session.State != upload.StateOpen {
		err = registry.ErrPublished
	}
	return session, err
}

// AbandonUpload implements Uploads.
func (in *Intake) AbandonUpload(ctx context.Context, id string) error {
	removed := 0
	err := in.core.Write(ctx, func(tx database.Tx) error {
		removed = 0
		switch _, err := in.lockSession(ctx, tx, id); {
		case errors.Is(err, registry.ErrNotFound):
			return nil
		case err != nil && !errors.Is(err, registry.ErrExpired):
			return err
		}
		if err := upload.Abandon(ctx, tx, id); err != nil {
			return err
		}
		var err error
		removed, err = upload.DeleteSome(ctx, tx, id, rowsPerDelete)
		return err
	})
	if err != nil || removed < rowsPerDelete {
		return err
	}
	// It is abandoned already: what is left over, for example when the client
	// leaves now, the janitor removes.
	if err := in.deleteSession(ctx, id); err != nil {
		in.core.Logger.WarnContext(ctx, "removing an abandoned upload session", "error", err)
	}
	return nil
}

// defaultLimits are what one holder may have.
var defaultLimits = upload.Usage{Sessions: registry.MaxOpenUploads, Files: registry.MaxDeclaredFiles, Texts: registry.MaxDeclaredTexts}

// admitSession checks that the holder may open a session with texts of that many
// bytes. At the limit the oldest of the holder's sessions in which nothing was
// declared ends: clients leave them behind.
func (in *Intake) admitSession(ctx context.Context, tx database.Tx, holder string, texts int64) error {
	if holder == "" {
		return nil
	}
	for {
		has, err := upload.UsageOf(ctx, tx, holder, in.core.Now())
		if err != nil || has.Sessions < in.Limits.Sessions && has.Texts+texts <= in.Limits.Texts {
			return err
		}
		oldest, err := upload.OldestEmpty(ctx, tx, holder)
		if errors.Is(err, upload.ErrNotFound) {
			return in.tooMuch(holder, has)
		}
		if err == nil {
			err = upload.Abandon(ctx, tx, oldest)
		}
		if err == nil {
			_, err = upload.DeleteSome(ctx, tx, oldest, rowsPerDelete)
		}
		if err != nil {
			return err
		}
	}
}

// admitFiles checks that files may be declared in a session: for its holder, and
// so that a manifest of them is not too large to be published.
func (in *Intake) admitFiles(ctx context.Context, tx database.Tx, session upload.Session, files []upload.File) error {
	if len(files) == 0 {
		return nil
	}
	texts := upload.TextsOf(files)
	if least := session.Texts + texts + (session.Files+int64(len(files)))*leastFile; least > manifest.MaxSize {
		return registry.Invalid("files", "would result in a manifest of more than %d bytes; it must be at most %d", least, manifest.MaxSize)
	}
	if session.Holder == "" {
		return nil
	}
	has, err := upload.UsageOf(ctx, tx, session.Holder, in.core.Now())
	if err != nil {
		return err
	}
	if has.Files+int64(len(files)) > in.Limits.Files || has.Texts+texts > in.Limits.Texts {
		return in.tooMuch(session.Holder, has)
	}
	return nil
}

func (in *Intake) tooMuch(holder string, has upload.Usage) error {
	return &registry.LimitError{Message: fmt.Sprintf(
		"%s has %d open upload sessions with %d declared files and %d bytes of paths and annotations; at most are allowed %d, %d and %d: publish or abandon some",
		holder, has.Sessions, has.Files, has.Texts, in.Limits.Sessions, in.Limits.Files, in.Limits.Texts)}
}
