package view_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/pkg/registry/view"
	"github.com/coulomb/artifact-store/test/servers"
	"github.com/coulomb/artifact-store/test/size"
)

// replayVariable has the test binary rebuild a database instead of running tests.
const replayVariable = "ARTIFACTSTORE_TEST_REPLAY"

// stillVariable has it stop in the middle, for ever.
const stillVariable = "ARTIFACTSTORE_TEST_STILL"

func TestMain(m *testing.M) {
	if address := os.Getenv(replayVariable); address != "" {
		replay := replayMeasured
		if os.Getenv(stillVariable) != "" {
			replay = replayStill
		}
		if err := replay(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// replayMeasured rebuilds and checks with the heap that the manager's verbs
// have, and prints the most memory that could not have been reclaimed, in KiB.
func replayMeasured(address string) error {
	debug.SetMemoryLimit(52 << 20)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	most := 0
	var sampling sync.WaitGroup
	sampling.Go(func() {
		for ctx.Err() == nil {
			most = max(most, anonymous())
			time.Sleep(5 * time.Millisecond)
		}
	})
	db, err := database.Open(ctx, address)
	if err != nil {
		return err
	}
	if _, err := view.New(db).Rebuild(ctx, view.Progress{}); err != nil {
		return err
	}
	if _, err := view.New(db).Check(ctx, view.Progress{}); err != nil {
		return err
	}
	stop()
	sampling.Wait()
	fmt.Println(most)
	return db.Close()
}

func anonymous() (kib int) {
	status, _ := os.ReadFile("/proc/self/status")
	if _, rest, found := strings.Cut(string(status), "RssAnon:"); found {
		fmt.Sscan(rest, &kib) //nolint:errcheck // 0 fails the test
	}
	return kib
}

// TestMemoryOfAReplay: 128 MiB are enough for records as large as there can be.
func TestMemoryOfAReplay(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) string{
		"sqlite":     func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "views.db") },
		"postgresql": func(t *testing.T) string { return servers.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := open(t)
			db, err := database.Open(context.Background(), address)
			must(t, err)
			log := logOf(t, db, opened(t, db), eventlog.Knows(event.Level))
			must(t, appendAll(log, event.BackendRegistered{BackendID: backendID, Name: "b", Driver: "local", Place: "/b"}))
			largest := 0
			for version := range size.Of(1, 5) {
				m := &manifest.Manifest{Producer: "p", Name: "n", Version: fmt.Sprint(version)}
				folder := strings.Repeat(strings.Repeat("x", 250)+"/", 4)[:1000]
				for i := range 28_000 {
					m.Files = append(m.Files, manifest.File{Path: fmt.Sprintf("%s/%06d", folder, i), Size: 1, Digests: digest.Of(fmt.Append(nil, version, i))})
				}
				encoded, err := manifest.Encode(m)
				must(t, err)
				largest = max(largest, len(encoded))
				must(t, appendAll(log, event.PackagePublished{Producer: "p", Name: "n", Version: fmt.Sprint(version), RetentionClass: "r", Tier: "hot", Backends: []string{backendID}, Manifest: encoded}))
			}
			must(t, db.Close())
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), replayVariable+"="+address)
			var says bytes.Buffer
			child.Stderr = &says
			output, err := child.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, says.String())
			}
			kib := 0
			fmt.Sscan(string(output), &kib) //nolint:errcheck // 0 fails below
			t.Logf("records of %d bytes: %d KiB", largest, kib)
			if kib == 0 || kib > 128<<10 {
				t.Errorf("the replay took %d KiB", kib)
			}
		})
	}
}

// replayStill rebuilds up to the first page, says so, and goes no further.
func replayStill(address string) error {
	db, err := database.Open(context.Background(), address)
	if err != nil {
		return err
	}
	_, err = view.New(db).Rebuild(context.Background(), view.Progress{Replayed: func(uint64, uint64) {
		fmt.Println("still")
		time.Sleep(time.Hour)
	}})
	return err
}

// TestKilledRebuild leaves tables that nobody sees and the next rebuild drops.
func TestKilledRebuild(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) string{
		"sqlite":     func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "views.db") },
		"postgresql": func(t *testing.T) string { return servers.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, address := context.Background(), open(t)
			db, err := database.Open(ctx, address)
			must(t, err)
			defer db.Close() //nolint:errcheck // a test's
			views := opened(t, db)
			log := logOf(t, db, views)
			publish(t, log, "1", 3)
			before := dump(t, db)
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), replayVariable+"="+address, stillVariable+"=1")
			says, err := child.StdoutPipe()
			must(t, err)
			must(t, child.Start())
			_, err = says.Read(make([]byte, 5))
			must(t, err)
			must(t, child.Process.Kill()) // SIGKILL
			_ = child.Wait()              // it was killed
			mustHave(t, db, "packages_g1", true)
			publish(t, log, "2", 3)                            // nobody minds
			must(t, db.Write(ctx, func(tx database.Tx) error { // half a minute later
				_, err := tx.ExecContext(ctx, "UPDATE view_state SET until_us = 0")
				return err
			}))
			_, err = views.Rebuild(ctx, view.Progress{})
			must(t, err)
			mustHave(t, db, "packages_g1", false)
			if _, err := views.Check(ctx, view.Progress{}); err != nil {
				t.Error(err)
			}
			if after := dump(t, db); !strings.Contains(after, `"n", "1"`) || !strings.Contains(after, `"n", "2"`) || after == before {
				t.Errorf("the rows are\n%s", after)
			}
		})
	}
}
