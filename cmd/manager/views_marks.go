package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/observe"
	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/headmark"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
)

// compareMarks compares the head mark of each declared backend with the log, and
// describes what it found. It writes nothing. An ErrOlderLog, among other errors.
func compareMarks(ctx context.Context, db *database.DB, dir, dataDir string) (found map[string]string, err error) {
	declaration, err := declared.LoadDir(dir, declared.Declaration{})
	if err != nil {
		return nil, err
	}
	if dataDir, err = filepath.Abs(dataDir); err != nil {
		return nil, err
	}
	// The user who runs this may read the places anyway.
	settings := declared.Settings{DataDir: dataDir, LocalRoot: "/", AllowAmbient: true}
	found = make(map[string]string)
	for i := range declaration.Backends {
		sb := &declaration.Backends[i]
		says, wrong := compareMark(ctx, db, sb, settings)
		if wrong != nil {
			err = errors.Join(err, fmt.Errorf("backend %s: %w", sb.Name, wrong))
			continue
		}
		found[sb.Name] = says
	}
	return found, err
}

func compareMark(ctx context.Context, db *database.DB, sb *v1alpha1.StorageBackend, settings declared.Settings) (string, error) {
	config, wrong := declared.Config(sb, observe.HostLookup, settings)
	if wrong != nil {
		return "", errors.New(wrong.Message)
	}
	ctx, cancel := context.WithTimeout(ctx, declared.ProbeTimeout(sb))
	defer cancel()
	store, err := backends.Open(ctx, config, buffer.Default())
	if err != nil {
		return "", err
	}
	defer store.Close() //nolint:errcheck // it was only read
	identity, err := store.ReadMarker(ctx)
	if err != nil {
		return "", err
	}
	data, err := store.ReadHeadMark(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		return "none yet", nil
	}
	if err != nil {
		return "", err
	}
	mark, err := headmark.Parse(data)
	if err != nil {
		return "", err
	}
	var older string
	if err := db.Read(ctx, func(tx database.Tx) error {
		head, err := eventlog.HeadTx(ctx, tx)
		if err != nil {
			return err
		}
		id, err := registrar.ParseMarker(identity, head.LogID, config.Place())
		if err != nil {
			return err
		}
		older, _, err = headmark.Older(ctx, tx, id, mark)
		return err
	}); err != nil {
		return "", err
	}
	if older != "" {
		return "", &registrar.MarkerError{Kind: registrar.ErrOlderLog, Message: older}
	}
	return fmt.Sprintf("event %d, which the log has", mark.Position), nil
}
