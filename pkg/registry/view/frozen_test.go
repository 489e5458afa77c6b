package view_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/test/servers"
)

// frozenRecord is a record as testdata/frozen.json holds it.
type frozenRecord struct {
	Position             uint64
	Time                 time.Time
	Kind, Actor, Subject string
	Payload              string // hex
}

// The log in testdata was written once and must give these rows for ever. Live
// writes and replays share Apply, so comparing the two cannot show a bug in
// it; these files can. Neither is ever regenerated: a new kind of event is
// appended to the log with the rows that a person worked out.
func TestFrozenLogGivesTheGoldenRows(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) string{
		"sqlite":     func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "views.db") },
		"postgresql": func(t *testing.T) string { return servers.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			db, err := database.Open(ctx, open(t))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			views := opened(t, db)
			if err := db.Write(ctx, func(tx database.Tx) error {
				for _, rec := range frozenLog(t) {
					if err := views.Apply(ctx, tx, rec); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			var got string
			if err := db.Read(ctx, func(tx database.Tx) (err error) {
				got, err = view.Dump(ctx, tx)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile("testdata/frozen.rows")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Fatalf("the fold of old events changed (-want +got):\n%s", diff)
			}
		})
	}
}

func frozenLog(t *testing.T) []eventlog.Record {
	t.Helper()
	data, err := os.ReadFile("testdata/frozen.json")
	if err != nil {
		t.Fatal(err)
	}
	var frozen []frozenRecord
	if err := json.Unmarshal(data, &frozen); err != nil {
		t.Fatal(err)
	}
	records := make([]eventlog.Record, len(frozen))
	for i, f := range frozen {
		payload, err := hex.DecodeString(f.Payload)
		if err != nil {
			t.Fatal(fmt.Errorf("record %d: %w", i, err))
		}
		records[i] = eventlog.Record{Position: f.Position, Time: f.Time,
			Event: eventlog.Event{Kind: f.Kind, Actor: f.Actor, Subject: f.Subject, Payload: payload}}
	}
	return records
}
