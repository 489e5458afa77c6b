package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/upload"
)

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
