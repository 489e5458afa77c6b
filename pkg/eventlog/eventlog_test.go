package eventlog_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/eventlog/eventlogtest"
	"github.com/coulomb/artifact-store/test/servers"
)

var engines = map[string]func(t *testing.T) string{
	"sqlite":     func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "test.db") },
	"postgresql": func(t *testing.T) string { return servers.Postgres(t) },
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, fresh := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eventlogtest.Run(t, fresh)
		})
	}
}

// The preimage is spelled out by hand from the package comment, so that
// neither the encoder nor its options can change it unseen.
func TestHash(t *testing.T) {
	t.Parallel()
	record := eventlog.Record{
		Position: 1000, Time: time.Unix(1700000000, 123456789),
		Event: eventlog.Event{Kind: "v1.test.happened", Actor: "é", Payload: []byte{1, 2, 3}},
	}
	for i := range record.Previous {
		record.Previous[i] = byte(i)
	}
	const head = "87" + // array of 7
		"1903e8" + // position 1000
		"1b00060a2418202240" + // time 1700000000123456
		"70" + "76312e746573742e68617070656e6564" + // kind, text of 16
		"62c3a9" + // actor, text of 2
		"60" // subject, empty text
	const previous = "5820" + "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" // bytes of 32
	for _, test := range []struct {
		name, payload, encoded, hash string
	}{
		{"payload", "\x01\x02\x03", "43010203", "9786c58afbfdae5c1d4d298cb1fd697ff555482c837be922ea91c9c18426ea93"},
		{"no payload", "", "40", "547934fe09b4ca5c7ebabff02c79d95095c17d2e0918b12aca38bb2e1882d9b4"},
	} {
		preimage, err := hex.DecodeString(head + test.encoded + previous)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(preimage); hex.EncodeToString(sum[:]) != test.hash {
			t.Errorf("%s: the hash of the preimage is %x", test.name, sum)
		}
		for _, payload := range [][]byte{[]byte(test.payload), append([]byte(nil), test.payload...)} { // empty and nil are the same
			record.Payload = payload
			if got, err := record.ComputeHash(); err != nil || hex.EncodeToString(got[:]) != test.hash {
				t.Errorf("%s: %x, expected %s: %v", test.name, got, test.hash, err)
			}
		}
	}
}

// A large append is not decided again because a later command of its commit fails.
func TestHeavyIsNotDoneAgain(t *testing.T) {
	t.Parallel()
	for name, fresh := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := database.Open(t.Context(), fresh(t))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			log, err := eventlog.Open(t.Context(), db, nil, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			nothing := func(context.Context, database.Tx) ([]eventlog.Event, error) { return nil, nil }
			refused := errors.New("refused")
			for range 20 {
				begun, release, runs := make(chan struct{}), make(chan struct{}), 0
				var all sync.WaitGroup
				try := func(decide eventlog.Decide, want error) {
					all.Go(func() {
						if _, err := log.Append(t.Context(), decide); !errors.Is(err, want) {
							t.Errorf("got %v, want %v", err, want)
						}
					})
				}
				try(func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
					close(begun)
					<-release
					return nothing(ctx, tx)
				}, nil)
				<-begun
				try(func(context.Context, database.Tx) ([]eventlog.Event, error) {
					runs++
					return []eventlog.Event{{Kind: "v1.test.happened", Payload: make([]byte, 100<<10)}}, nil
				}, nil)
				runtime.Gosched()
				try(func(ctx context.Context, tx database.Tx) ([]eventlog.Event, error) {
					if _, err := tx.ExecContext(ctx, "UPDATE log_head SET time = time"); err != nil {
						return nil, err
					}
					return nil, refused
				}, refused)
				runtime.Gosched()
				close(release)
				all.Wait()
				if runs != 1 {
					t.Fatalf("it was decided %d times", runs)
				}
			}
		})
	}
}

// TestMain also is the process that TestKilled kills: it appends until then, and says what was answered.
func TestMain(m *testing.M) {
	address := os.Getenv("EVENTLOG_TEST_VICTIM")
	if address == "" {
		os.Exit(m.Run())
	}
	ctx := context.Background()
	db, err := database.Open(ctx, address)
	if err != nil {
		panic(err)
	}
	log, err := eventlog.Open(ctx, db, eventlogtest.Apply, time.Now)
	if err != nil {
		panic(err)
	}
	for worker := range 4 {
		go func() {
			for {
				records, err := log.Append(ctx, eventlogtest.Always(eventlogtest.Event("x"), eventlogtest.Event(fmt.Sprint(worker))))
				if err != nil {
					panic(err)
				}
				for _, record := range records {
					fmt.Printf("%d %x\n", record.Position, record.Hash) // one write each: whole lines
				}
			}
		}()
	}
	select {}
}

// kill -9 at any instant: what was answered is there, log and view are whole, and the next process goes on.
func TestKilled(t *testing.T) {
	t.Parallel()
	for name, fresh := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := fresh(t)
			db, log := eventlogtest.Open(t, address)
			answered := map[uint64]string{}
			for round := range 8 {
				before := len(answered)
				runVictim(t, address, 1+round*13, answered)
				if len(answered) == before {
					t.Fatal("the victim answered nothing")
				}
				head, err := eventlogtest.Verify(t.Context(), db)
				if err != nil {
					t.Fatal(err)
				}
				if head.Position < uint64(len(answered)) {
					t.Errorf("the head is %d after %d answers", head.Position, len(answered))
				}
			}
			for position, hash := range answered {
				record, err := log.ReadOne(t.Context(), position)
				if err != nil || hex.EncodeToString(record.Hash[:]) != hash {
					t.Errorf("record %d was answered and is lost: %v", position, err)
				}
			}
		})
	}
}

func runVictim(t *testing.T, address string, lines int, answered map[uint64]string) {
	t.Helper()
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), "EVENTLOG_TEST_VICTIM="+address)
	var stderr strings.Builder
	victim.Stderr = &stderr
	output, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var kill sync.Once
	scanner := bufio.NewScanner(output)
	for n := 1; scanner.Scan(); n++ {
		var position uint64
		var hash string
		if _, err := fmt.Sscan(scanner.Text(), &position, &hash); err != nil || len(hash) != 64 {
			continue // cut off by the kill
		}
		answered[position] = hash
		if n >= lines {
			kill.Do(func() { _ = victim.Process.Kill() })
		}
	}
	_ = victim.Process.Kill()
	_ = victim.Wait()
	if stderr.Len() > 0 {
		t.Errorf("the victim said: %s", stderr.String())
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, fresh := range map[string]func() string{
		"sqlite":     func() string { return "sqlite://" + filepath.Join(b.TempDir(), "bench.db") },
		"postgresql": func() string { return servers.Postgres(b, servers.Durable()) },
	} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				_, log := eventlogtest.Open(b, fresh())
				b.SetParallelism(callers)
				b.ResetTimer()
				if callers == 1 {
					for b.Loop() {
						if _, err := log.Append(b.Context(), eventlogtest.Always(eventlogtest.Event("x"))); err != nil {
							b.Fatal(err)
						}
					}
					return
				}
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						if _, err := log.Append(b.Context(), eventlogtest.Always(eventlogtest.Event("x"))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
